"""Programs that `speed.py` and `memory.py` measure, each in a process of its own. They are run by their paths."""
