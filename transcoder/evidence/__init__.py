"""Evidence: whether every file of a directory is the one that was converted and validated."""
