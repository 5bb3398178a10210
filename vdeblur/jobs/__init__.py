"""What people ask for; the only floor where video and engine meet."""
