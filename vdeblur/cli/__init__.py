"""Words and pictures for people; computes nothing."""
