"""Frames in, frames out: planes, network, difference. Never opens a file."""
