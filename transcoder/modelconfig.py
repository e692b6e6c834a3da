"""config.json: read it, answer what mappings ask of it, and write it for the output with its text otherwise kept."""

from __future__ import annotations

import json
from dataclasses import dataclass

from transcoder import strictjson
from transcoder.errors import PlanError, Problem
from transcoder.mapping.expressions import Value
from transcoder.sources.base import Location

LARGEST = 16 << 20


_KINDS: dict[type, str] = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}


@dataclass(frozen=True)
class ModelConfig:
    """A parsed config.json and where it came from."""

    path: Location
    values: dict[str, object]

    @property
    def model_type(self) -> str | None:
        value = self.values.get("model_type")
        return value if isinstance(value, str) else None

    @property
    def architectures(self) -> tuple[str, ...]:
        """PyTorch class names; the TF prefix of some old files is taken off."""
        names = self.values.get("architectures")
        if not isinstance(names, list):
            return ()
        return tuple(name.removeprefix("TF") for name in names if isinstance(name, str))

    def scalars(self, defaults: dict[str, Value]) -> dict[str, Value]:
        """The values that mappings may name: those of the file over `defaults`, and of the kinds that these have.

        Raises PlanError naming each one of another kind.

        `num_labels` is what transformers' PretrainedConfig makes of `id2label`, `num_labels` or neither: 2.
        """
        problems = [
            Problem(
                f"{self.path}: {key}",
                json.dumps(self.values[key]),
                _KINDS[type(default)],
                "use the config.json that was saved with the weights",
            )
            for key, default in defaults.items()
            if default is not None and key in self.values and not _is_like(self.values[key], default)
        ]
        if problems:
            raise PlanError("config.json can't be used", problems)
        result = dict(defaults)
        for key, value in self.values.items():
            if value is None or isinstance(value, (str, int, float, bool)):
                result[key] = value
        labels = self.values.get("id2label")
        if isinstance(labels, dict):
            result["num_labels"] = len(labels)
        result.setdefault("num_labels", 2)
        return result

    def for_output(self, architecture: str, dtype: str | None) -> str:
        """The text of the output's config.json: `architectures` set, all else kept.

        `dtype` is the one that all floating tensors have. It replaces what the file says of it, under the
        key that the file uses, because from_pretrained loads in the dtype that config.json names.
        """
        values = dict(self.values)
        values["architectures"] = [architecture]
        for key in ("dtype", "torch_dtype"):
            if key in values and dtype is not None:
                values[key] = dtype
        return json.dumps(values, indent=2, ensure_ascii=False) + "\n"


def _is_like(value: object, default: Value) -> bool:
    if isinstance(value, bool) or isinstance(default, bool):
        return isinstance(value, bool) and isinstance(default, bool)
    return isinstance(value, (int, float) if isinstance(default, float) else type(default))


def read_config(path: Location) -> ModelConfig:
    """Parse a config.json.

    Raises PlanError: not readable, not JSON, or not an object.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise ValueError(f"{path.stat().st_size} bytes")
        values = strictjson.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise PlanError(
            "config.json can't be used",
            Problem(str(path), str(error), "the model's configuration as JSON", "fetch it again or pass --config"),
        ) from error
    if not isinstance(values, dict):
        raise PlanError(
            "config.json can't be used",
            Problem(
                str(path),
                f"a JSON {type(values).__name__}",
                "an object",
                "pass --config with the model's own",
            ),
        )
    return ModelConfig(path, values)


def find_config(source: Location) -> ModelConfig:
    """The config.json of a checkpoint: in its directory, or above a SavedModel's `saved_model/1`.

    Raises PlanError when there is none.
    """
    start = source if source.is_dir() else source.parent
    looked = [start]
    if (start / "saved_model.pb").exists():
        looked += [start.parent, start.parent.parent]
    for directory in looked:
        if (directory / "config.json").is_file():
            return read_config(directory / "config.json")
    raise PlanError(
        "no config.json",
        Problem(
            ", ".join(str(directory) for directory in looked),
            "no config.json",
            "the model's configuration, which says its architecture, its layers and its sizes",
            "put it beside the weights or pass --config FILE",
        ),
    )
