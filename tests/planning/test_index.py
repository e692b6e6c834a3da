"""The index of shards, as text."""

import json

from transcoder.planning.layout import index_json, lay_out
from transcoder.tensors import BY_NAME, TensorSpec


def test_an_index_is_indented_by_two_and_keeps_names_as_they_are() -> None:
    specs = [TensorSpec(name, BY_NAME["float32"], (2,)) for name in ("b", "ä", "a")]
    text = index_json(lay_out(specs, 8), specs)
    assert text.splitlines()[:3] == ["{", '  "metadata": {', '    "total_parameters": 6,']
    assert '    "ä": "model-00002-of-00003.safetensors"\n' in text
    assert text == json.dumps(json.loads(text), indent=2, ensure_ascii=False) + "\n"
