"""`python -m transcoder` is `transcode`."""

from transcoder.cli.entry import main

main()
