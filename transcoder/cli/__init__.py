"""The command line: one file a command, with its table. options.py, terminal.py, process.py and logs.py are shared."""
