"""The linter of `transcode check`: rules as data that find what is wrong with a repository for the Hub."""
