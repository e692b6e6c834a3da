"""Run the command line as if transformers were not installed."""

import sys

sys.modules["transformers"] = None  # type: ignore[assignment]
from transcoder.cli.entry import main  # noqa: E402  (the line above comes first)

main(sys.argv[1:])
