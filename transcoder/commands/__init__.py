"""Commands of the command line in modules of their own. Each imports only click until it runs."""
