"""A linter for directories of the Hugging Face Hub: rules as data, grouped by the file that they read."""
