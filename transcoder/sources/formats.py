"""All formats of containers, one record each: how one is recognised, named, opened, checked and documented.

Every room that treats formats differently reads these records: detection, batches, web servers, the validator and
the table in docs/containers.md. A new format is its reader, a record beside it, its name in FORMATS, and golden files;
and a second reader in the validator, where another library reads it. No reader is imported before it is needed.
"""

from __future__ import annotations

from transcoder.sources.arrays.formats import NPZ, OPENAI_GPT, SAFETENSORS
from transcoder.sources.hdf5.formats import KERAS3, KERAS_H5, SHARDED_H5
from transcoder.sources.tf.formats import CHECKPOINT, SAVED_MODEL, V1_CHECKPOINT

# In the order in which a file is compared with them: by the names of parts, then by content.
FORMATS = (
    SAVED_MODEL,
    OPENAI_GPT,
    SHARDED_H5,
    SAFETENSORS,
    KERAS3,
    KERAS_H5,
    NPZ,
    CHECKPOINT,
    V1_CHECKPOINT,
)
BY_KIND = {each.kind: each for each in FORMATS}
