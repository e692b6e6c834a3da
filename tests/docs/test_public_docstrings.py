"""Every public name says what it is: each parameter, each field, each error."""

import dataclasses
import inspect

import pytest

import transcoder
from tools.docs.docstrings import parse_docstring

PUBLIC = {name: getattr(transcoder, name) for name in transcoder.__all__ if name != "__version__"}
FUNCTIONS = [name for name, value in PUBLIC.items() if inspect.isfunction(value)]
RECORDS = [name for name, value in PUBLIC.items() if inspect.isclass(value) and dataclasses.is_dataclass(value)]


def test_there_are_functions_and_records() -> None:
    assert len(FUNCTIONS) >= 8
    assert len(RECORDS) >= 8


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_documents_each_parameter_in_order(name: str) -> None:
    found = parse_docstring(PUBLIC[name])
    assert found.text
    assert list(found.sections.get("Args", {})) == list(inspect.signature(PUBLIC[name]).parameters)
    assert all(found.sections.get("Args", {}).values())
    assert found.sections.get("Raises") or "Raises" in found.text


@pytest.mark.parametrize("name", RECORDS)
def test_a_record_documents_each_field_in_order(name: str) -> None:
    found = parse_docstring(PUBLIC[name])
    fields = [field.name for field in dataclasses.fields(PUBLIC[name]) if not field.name.startswith("_")]
    assert list(found.sections.get("Attributes", {})) == fields


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_method_has_a_docstring(name: str) -> None:
    assert parse_docstring(PUBLIC[name]).text
    if inspect.isclass(PUBLIC[name]):
        for member, value in vars(PUBLIC[name]).items():
            if not member.startswith("_") and (inspect.isfunction(value) or isinstance(value, property)):
                assert parse_docstring(value).text, f"{name}.{member}"
