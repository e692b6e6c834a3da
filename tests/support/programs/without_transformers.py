"""The command line where transformers is not installed."""

import sys

sys.modules["transformers"] = None  # type: ignore[assignment]
from transcoder.cli.entry import main  # noqa: E402  (the line above comes first)

main(sys.argv[1:])
