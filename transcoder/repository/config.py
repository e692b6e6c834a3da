"""config.json: reads it, and writes it for the output with its other values kept."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from transcoder.errors import PlanError, Problem
from transcoder.files import strictjson
from transcoder.files.links import refuse_link
from transcoder.sources.base import Location

LARGEST = 16 << 20


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

    def for_output(self, architecture: str, model_type: str | None, dtype: str | None) -> str:
        """The text of the output's config.json: `architectures` set, `model_type` where it had none, all else kept.

        `dtype` is the one that all floating tensors have. It replaces what the file says of it, under the
        key that the file uses, because from_pretrained loads in the dtype that config.json names.
        """
        values = dict(self.values)
        values["architectures"] = [architecture]
        if model_type is not None:
            values.setdefault("model_type", model_type)
        for key in ("dtype", "torch_dtype"):
            if key in values and dtype is not None:
                values[key] = dtype
        return json.dumps(values, indent=2, ensure_ascii=False) + "\n"


def read_config(path: Location) -> ModelConfig:
    """Parse a config.json.

    Raises PlanError: not readable, not JSON, or not an object.
    """
    try:
        if not path.is_file() and path.exists():
            raise ValueError("not a regular file")  # a FIFO would be waited for, a device has no end
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

    Raises PlanError when there is none, or it can't be used.
    """
    if (found := own_config(source)) is not None:
        return found
    raise PlanError(
        "no config.json",
        Problem(
            ", ".join(str(directory) for directory in _places(source)),
            "no config.json",
            "the model's configuration, which says its architecture, its layers and its sizes",
            "put it beside the weights or pass --config FILE",
        ),
    )


def own_config(source: Location) -> ModelConfig | None:
    """As `find_config`, but None when there is no config.json.

    Raises PlanError: there is one, and it can't be used.
    """
    for directory in _places(source):
        path = directory / "config.json"
        if path.is_file():
            if isinstance(path, Path):
                refuse_link(path)
            return read_config(path)
    return None


def _places(source: Location) -> list[Location]:
    start = source if source.is_dir() else source.parent
    saved_model = (start / "saved_model.pb").exists()
    return [start, start.parent, start.parent.parent] if saved_model else [start]
