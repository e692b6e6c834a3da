"""The output's config.json compared with the source's: equal weights with another head count are another model."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from transcoder.artifacts import CONFIG
from transcoder.errors import Problem
from transcoder.repository.versions import DTYPE_KEYS
from transcoder.tensors import BY_SAFETENSORS
from transcoder.validator.case import Case
from transcoder.validator.output import Output

MAX_SHOWN_CHARACTERS = 200  # of a value


def find_config_differences(case: Case) -> Iterator[Problem]:
    """Yield a problem for each key of the output's config.json whose value is not the wanted one.

    A conversion changes the class, a missing `model_type`, and the dtype of the tensors. It keeps all other keys of
    the source's config.json; where there is none, only the class is compared.
    """
    found = case.config.values
    wanted = _wanted_values(case)
    for key in sorted(wanted.keys() | found.keys()):
        found_text, wanted_text = _as_text(found, key), _as_text(wanted, key)
        if found_text != wanted_text:
            wanted_text = wanted_text[:MAX_SHOWN_CHARACTERS]
            remedy = "convert again; if the conversion had --config, pass the same here"
            if key == "architectures":
                remedy = "convert again, or validate as the class that the output names"
            else:
                wanted_text += ", as in the source's config.json"
            yield Problem(f"{case.directory / CONFIG}: {key}", found_text[:MAX_SHOWN_CHARACTERS], wanted_text, remedy)


def _wanted_values(case: Case) -> dict[str, object]:
    found = case.config.values
    if case.original is None:
        return {**found, "architectures": [case.architecture]}
    wanted = {**case.original.values, "architectures": [case.architecture]}
    if "model_type" not in wanted and "model_type" in found:
        wanted["model_type"] = found["model_type"]
    floats = _float_dtypes(case.output)
    for key in DTYPE_KEYS:
        if key in wanted and len(floats) == 1:
            (wanted[key],) = floats
    return wanted


def _float_dtypes(output: Output) -> set[str]:
    """Return the floating dtypes of the output's tensors."""
    names = {output.spec(tensor)[0] for tensor in output.file_of}
    return {BY_SAFETENSORS[name].name for name in names & BY_SAFETENSORS.keys() if BY_SAFETENSORS[name].is_float}


def _as_text(values: Mapping[str, object], key: str) -> str:
    return json.dumps(values[key], sort_keys=True) if key in values else "no such key"
