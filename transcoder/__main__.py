"""`python -m transcoder` is `transcode`."""

from transcoder.cli import main

main()
