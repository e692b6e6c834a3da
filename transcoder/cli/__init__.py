"""The command line: one file a command, each with its table. A command imports only click until it runs."""
