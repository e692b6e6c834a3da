"""Programs for those who work on this repository: see README.md."""
