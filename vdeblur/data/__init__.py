"""Pictures on disk to training samples."""
