"""TensorFlow 2 checkpoints and SavedModel `variables/`: a bundle whose object graph names the variables.

Source: tensorflow core/protobuf/trackable_object_graph.proto. The keys of the bundle are attribute paths
and mislead (`roberta/embeddings/embeddings` is the position table); `full_name` is the variable's name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from transcoder.sources.base import ByteRange, Closing, Location, damaged
from transcoder.sources.names import below, common_scope, tidy
from transcoder.sources.tf.bundle import Bundle
from transcoder.sources.tf.wire import WireError, as_bytes, as_int, as_text, fields
from transcoder.tensors import TensorSpec

OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"


class TFCheckpoint(Closing):
    """Variables of a tensor bundle under their canonical names. `path` is what the user named."""

    specs: Mapping[str, TensorSpec]
    not_tensors: Mapping[str, str]

    def __init__(self, path: Location, prefix: Location, kind: str) -> None:
        self.path = path
        self.kind = kind
        self._bundle = Bundle(prefix)
        try:
            self._name_entries()
        except BaseException:
            self.close()
            raise

    def _name_entries(self) -> None:
        entries = self._bundle.entries
        names: dict[str, str] = {}
        slots: frozenset[str] = frozenset()
        self.producer = "TensorFlow, name-based"
        if OBJECT_GRAPH in entries:
            self.producer = "TensorFlow 2, object-based"
            try:
                names, slots = full_names(self._bundle.read_string(OBJECT_GRAPH))
            except WireError as error:
                raise damaged(self._bundle.index, OBJECT_GRAPH, str(error), "a TrackableObjectGraph") from error
        # A name that two variables share, or none, says nothing: the key does.
        shared = {name for name, count in Counter(names.values()).items() if count > 1}
        raw = {
            key: tidy(names[key])
            if names.get(key) and names[key] not in shared and key not in slots
            else key.removesuffix(SUFFIX)
            for key, entry in entries.items()
            if entry.dtype is not None
        }
        # The first level of a name-based checkpoint is part of the name (`bert/`), not an instance of a model.
        self.scope = common_scope([name for key, name in raw.items() if key not in slots]) if names else ""
        self._keys: dict[str, str] = {}
        specs: dict[str, TensorSpec] = {}
        for key, name in raw.items():
            canonical = below(name, self.scope)
            if canonical in specs:
                raise damaged(self._bundle.index, canonical, "two variables of this name", "each variable once")
            entry = entries[key]
            assert entry.dtype is not None  # noqa: S101  (filtered above; for the type checker)
            specs[canonical] = TensorSpec(canonical, entry.dtype, entry.shape)
            self._keys[canonical] = key
            self._bundle.titles[key] = f"{canonical} (key {key})"
        self.specs = specs
        self.not_tensors = {
            key: "TensorFlow's object graph" if key == OBJECT_GRAPH else "a string, not a number"
            for key, entry in entries.items()
            if entry.dtype is None
        }

    def read_into(self, name: str, start: int, buffer: memoryview) -> None:
        self._bundle.read_into(self._keys[name], start, buffer)

    def byte_range(self, name: str) -> ByteRange | None:
        key = self._keys[name]
        entry = self._bundle.entries[key]
        if not self._bundle.contiguous(key):
            return None
        return ByteRange(self._bundle.files[entry.shard], entry.offset)

    def files(self) -> tuple[Location, ...]:
        return (self._bundle.index, *self._bundle.paths)

    def close(self) -> None:
        self._bundle.close()


def full_names(graph: bytes) -> tuple[dict[str, str], frozenset[str]]:
    """Checkpoint key -> full variable name, and the keys of optimizer slots, of a TrackableObjectGraph.

    TrackableObjectGraph {nodes=1 {children=1, attributes=2 {name=1, full_name=2, checkpoint_key=3},
    slot_variables=3 {original_variable_node_id=1, slot_name=2, slot_variable_node_id=3}}}.
    """
    names: dict[str, str] = {}
    keys_of: list[list[str]] = []
    slot_nodes: set[int] = set()
    for number, node in fields(graph):
        if number != 1:
            continue
        keys: list[str] = []
        for inner, value in fields(as_bytes(node)):
            if inner == 2:
                attribute = {n: as_text(v) for n, v in fields(as_bytes(value)) if n in (1, 2, 3)}
                if attribute.get(1) == "VARIABLE_VALUE" and 3 in attribute:
                    names[attribute[3]] = attribute.get(2, "")
                    keys.append(attribute[3])
            elif inner == 3:
                slot_nodes.update(as_int(v) for n, v in fields(as_bytes(value)) if n == 3)
        keys_of.append(keys)
    slots = {key for node in slot_nodes if 0 <= node < len(keys_of) for key in keys_of[node]}
    return names, frozenset(slots)
