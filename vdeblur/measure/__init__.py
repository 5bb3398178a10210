"""Runs the real jobs and looks at them."""
