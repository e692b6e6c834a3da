"""Evidence of a published directory: is every file the one that was converted and validated?"""
