"""The rules, grouped by the file that they read. A rule registers itself when its module is imported."""
