"""What the operating system is asked: files read strictly, written whole, evicted, digested; links and secrets."""
