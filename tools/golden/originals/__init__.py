"""What the original releases of the families hold, under their own names. Data of `tools.golden.releases`.

Each module holds an ``ORIGINALS`` table. Its functions return the names and shapes of a release's variables for a
config. Their docstrings cite the release's training code, which these come from. They do not come from the
reference's loaders: these would only agree with themselves.
"""

import importlib

from tools.golden.originals.original import Original

GROUPS = (
    "albert",
    "bert",
    "bert_forks",
    "bert_generation",
    "big_bird",
    "big_transfer",
    "canine",
    "electra",
    "funnel",
    "mesh_tensorflow",
    "mobilebert",
    "mobilenet",
    "openai",
    "pegasus",
    "qdqbert",
    "realm",
    "tapas",
    "transformer_xl",
    "xlnet",
)

ORIGINALS: dict[str, Original] = {}
for group in GROUPS:
    ORIGINALS |= importlib.import_module(f"tools.golden.originals.{group}").ORIGINALS
