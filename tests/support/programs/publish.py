"""Publish a directory. Usage: publish.py DIRECTORY REPOSITORY "pull-request"|"new"

Without transformers: its checks are another test's, and a process then starts in a tenth of the time.
"""

import sys

sys.modules["transformers"] = None  # type: ignore[assignment]
from transcoder.publishing.publish import prepare, upload  # noqa: E402  (the line above comes first)

upload(prepare(sys.argv[1], sys.argv[2], create_pr=sys.argv[3] == "pull-request"))
