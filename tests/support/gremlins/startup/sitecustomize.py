"""Imported by every Python that starts with this folder on its path: imports the gremlin in workers of a batch."""

import os
import sys
from importlib import import_module

if "transcoder.batching.worker" in " ".join(sys.orig_argv):
    import_module(f"tests.support.gremlins.{os.environ['TRANSCODE_TEST_GREMLIN']}")
