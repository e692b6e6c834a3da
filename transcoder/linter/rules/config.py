"""Rules for config.json and generation_config.json, and for how the weights fit them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from transcoder.artifacts import CONFIG, GENERATION_CONFIG
from transcoder.linter.directory import Directory
from transcoder.linter.findings import Hit, rule
from transcoder.tensors import BY_SAFETENSORS

_LOCAL = re.compile(r"^(/|~|\.{1,2}/|[A-Za-z]:[\\/]|file:)")
TRANSFORMERS = "transformers"
MAX_NAMED = 10  # tensors named in one finding


@rule(
    "C001",
    "error",
    "no config.json",
    reason="No file says which model this is.",
    remedy="convert again, or add the model's config.json",
)
def no_config(d: Directory) -> Iterator[Hit]:
    if CONFIG not in d.files:
        yield Hit(CONFIG, "no such file", "the model's configuration")


@rule("C002", "error", "an unreadable config", reason="from_pretrained fails.", remedy="fix its JSON")
def unreadable_config(d: Directory) -> Iterator[Hit]:
    for name in (CONFIG, GENERATION_CONFIG):
        if name in d.files:
            try:
                value = d.json(name)
            except ValueError as error:
                yield Hit(name, str(error), "a JSON object")
            else:
                if not isinstance(value, dict):
                    yield Hit(name, f"a JSON {type(value).__name__}", "a JSON object")


@rule(
    "C003",
    "error",
    "no model_type",
    reason="AutoModel and AutoConfig can't identify the family.",
    remedy='add the family\'s name, such as "roberta"',
)
def no_model_type(d: Directory) -> Iterator[Hit]:
    if d.config is not None and not isinstance(d.config.get("model_type"), str):
        yield Hit(CONFIG, f"model_type {d.config.get('model_type')!r}", "a name")


@rule(
    "C004",
    "error",
    "no architecture",
    reason="The Hub and pipelines can't identify the model's head.",
    remedy="add architectures with the PyTorch class",
)
def no_architecture(d: Directory) -> Iterator[Hit]:
    if d.config is not None and not d.architectures:
        yield Hit(CONFIG, f"architectures {d.config.get('architectures')!r}", "a list with one class name")


def _without_tf(d: Directory, _: Hit) -> None:
    assert d.config is not None  # noqa: S101  (the rule has read it)
    d.write_json(CONFIG, {**d.config, "architectures": [name.removeprefix("TF") for name in d.architectures]})


@rule(
    "C005",
    "error",
    "a TensorFlow class in architectures",
    reason="The weights are PyTorch's, and transformers 5 has no TF classes.",
    remedy="remove the prefix TF",
    fix=_without_tf,
)
def tensorflow_class(d: Directory) -> Iterator[Hit]:
    for name in d.architectures:
        if name.startswith("TF"):
            yield Hit(CONFIG, name, name.removeprefix("TF"))


@rule(
    "C006",
    "error",
    "a class that is not in transformers",
    reason="AutoModel can't load the model.",
    needs=TRANSFORMERS,
    remedy="name the PyTorch class, or name the code in auto_map",
)
def unknown_class(d: Directory) -> Iterator[Hit]:
    if d.config is not None and not d.config.get("auto_map"):
        for name in d.opened.unknown:
            if not name.startswith("TF"):
                yield Hit(CONFIG, name, f"a class of transformers {d.opened.version}")


@rule(
    "C007",
    "error",
    "a config that fails to load",
    reason="from_pretrained fails.",
    needs=TRANSFORMERS,
    remedy="fix what the message names",
)
def config_does_not_load(d: Directory) -> Iterator[Hit]:
    for part in ("config", "model"):
        if d.config is not None and "model_type" in d.config and part in d.opened.faults:
            yield Hit(CONFIG, d.opened.faults[part], f"what transformers {d.opened.version} loads")


def _floating(d: Directory) -> set[str]:
    kinds = {BY_SAFETENSORS[dtype] for dtype, _ in d.tensors.values() if dtype in BY_SAFETENSORS}
    return {kind.name for kind in kinds if kind.is_float}


def _set_dtype(d: Directory, _: Hit) -> None:
    assert d.config is not None  # noqa: S101  (the rule has read it)
    (dtype,) = _floating(d)
    d.write_json(CONFIG, {**d.config, **dict.fromkeys(d.config.keys() & {"dtype", "torch_dtype"}, dtype)})


@rule(
    "C008",
    "error",
    "a dtype that differs from the weights",
    reason='from_pretrained with dtype="auto", and transformers 5 by default, cast to the dtype of config.json.',
    remedy="name the dtype of the weights",
    fix=_set_dtype,
)
def wrong_dtype(d: Directory) -> Iterator[Hit]:
    floating = _floating(d)
    if len(floating) == 1:
        for key in ("dtype", "torch_dtype"):
            claimed = (d.config or {}).get(key)
            if isinstance(claimed, str) and claimed.removeprefix("torch.") not in floating:
                yield Hit(CONFIG, f"{key} {claimed!r}", f"{next(iter(floating))!r}, the dtype of all weights")


@rule(
    "C009",
    "error",
    "missing weights",
    reason="from_pretrained fills them with random numbers and only warns.",
    needs="torch",
    remedy="set architectures to the class that was saved, or convert again",
)
def missing_weights(d: Directory) -> Iterator[Hit]:
    missing = d.opened.parameters.missing if d.opened.parameters is not None else []
    if missing:
        more = f" and {len(missing) - MAX_NAMED} more" if len(missing) > MAX_NAMED else ""
        yield Hit(CONFIG, f"no {', '.join(missing[:MAX_NAMED])}{more}", f"all parameters of {d.architectures[0]}")


@rule(
    "C010",
    "error",
    "weights whose shapes contradict config.json",
    reason="from_pretrained fails, or fills them with random numbers.",
    needs="torch",
    remedy="fix the sizes in config.json",
)
def wrong_shapes(d: Directory) -> Iterator[Hit]:
    for name, found, wanted in d.opened.parameters.mismatched if d.opened.parameters is not None else []:
        yield Hit(CONFIG, f"{name} {found}", f"{wanted}, by config.json")


@rule(
    "C011",
    "warning",
    "tied weights that differ",
    reason="The class ties them: transformers 4 keeps one and discards the other, transformers 5 warns and keeps both.",
    needs="torch",
    remedy="set tie_word_embeddings to false if the model was trained untied, or convert again",
)
def tied_weights(d: Directory) -> Iterator[Hit]:
    parameters = d.opened.parameters
    if parameters is None:
        return
    prefix = parameters.prefix
    for pair in parameters.tied.items():
        # The files may name them with or without the prefix of the base model.
        names = [next((n for n in (own, own.removeprefix(prefix)) if n in d.tensors), None) for own in pair]
        if names[0] is not None and names[1] is not None and not _equal(d, names[0], names[1]):
            yield Hit(CONFIG, f"{names[0]} and {names[1]} with different values", "equal values, since they are tied")


def _equal(d: Directory, one: str, other: str) -> bool:
    places = []
    for name in (one, other):
        file = next(file for file in d.model_files if name in d.headers[file].entries)
        header = d.headers[file]
        entry = header.entries[name]
        with (d.path / file).open("rb") as stream:
            start = 8 + int.from_bytes(stream.read(8), "little")
        places.append((d.path / file, start + entry.start, entry.nbytes))
    (first, at, size), (second, to, length) = places
    if size != length:
        return False
    with first.open("rb") as a, second.open("rb") as b:
        a.seek(at)
        b.seek(to)
        while size > 0:
            count = min(size, 1 << 20)
            if a.read(count) != b.read(count):
                return False
            size -= count
    return True


@rule(
    "C012",
    "error",
    "generation settings that fail to load or contradict each other",
    reason="generate fails or ignores them with a warning; save_pretrained refuses them.",
    needs=TRANSFORMERS,
    remedy="fix what the message names, or remove the file",
)
def generation_settings(d: Directory) -> Iterator[Hit]:
    if d.json_object(GENERATION_CONFIG) is not None and "generation" in d.opened.faults:
        yield Hit(GENERATION_CONFIG, d.opened.faults["generation"], "settings that transformers accepts")


@rule(
    "C013",
    "error",
    "a special token outside the vocabulary",
    reason="It has no embedding: the first padded batch fails.",
    remedy="fix the id or vocab_size",
)
def special_ids(d: Directory) -> Iterator[Hit]:
    size = (d.config or {}).get("vocab_size")
    if not isinstance(size, int):
        return
    for name in (CONFIG, GENERATION_CONFIG):
        for key, value in (d.json_object(name) or {}).items():
            ids = value if isinstance(value, list) else [value]
            for number in ids:
                if key.endswith("_token_id") and type(number) is int and number >= size:
                    yield Hit(name, f"{key} {number}", f"less than vocab_size, {size}")


def _without_path(d: Directory, hit: Hit) -> None:
    values = d.json_object(hit.file)
    assert values is not None  # noqa: S101  (the rule has read it)
    d.write_json(hit.file, {key: value for key, value in values.items() if not _is_local(key, value)})


def _is_local(key: str, value: object) -> bool:
    return key in ("_name_or_path", "name_or_path") and isinstance(value, str) and bool(_LOCAL.match(value))


@rule(
    "C014",
    "warning",
    "a local path",
    reason="It is useless to others, and reveals names of users and projects.",
    remedy="remove the key",
    fix=_without_path,
)
def local_paths(d: Directory) -> Iterator[Hit]:
    for name in (CONFIG, GENERATION_CONFIG, "tokenizer_config.json"):
        for key, value in (d.json_object(name) or {}).items():
            if _is_local(key, value):
                yield Hit(name, f"{key} with a local path", "the name of a repository, or nothing")


@rule(
    "C015",
    "error",
    "labels that contradict each other",
    reason="Predictions get wrong names.",
    remedy="make label2id the inverse of id2label",
)
def labels(d: Directory) -> Iterator[Hit]:
    config = d.config or {}
    names, numbers = config.get("id2label"), config.get("label2id")
    if isinstance(names, dict) and isinstance(numbers, dict):
        inverse = {str(label): str(number) for number, label in names.items()}
        if inverse != {str(label): str(number) for label, number in numbers.items()}:
            yield Hit(CONFIG, f"id2label with {len(names)} labels, label2id with {len(numbers)}", "two inverse tables")
    count = config.get("num_labels")
    if isinstance(names, dict) and isinstance(count, int) and count != len(names):
        yield Hit(CONFIG, f"num_labels {count}", f"{len(names)}, as in id2label")


@rule(
    "C016",
    "error",
    "missing code",
    reason="auto_map names a file that trust_remote_code would load.",
    remedy="add the file, or remove auto_map",
)
def missing_code(d: Directory) -> Iterator[Hit]:
    mapped = (d.config or {}).get("auto_map")
    for value in mapped.values() if isinstance(mapped, dict) else ():
        file = f"{str(value).rpartition('--')[2].partition('.')[0]}.py"
        if "--" not in str(value) and file not in d.files:
            yield Hit(file, "no such file", f"the code of {value}, which auto_map names")
