"""Every mistake in a mapping file is named with its line."""

import json
import re
from pathlib import Path

import pytest

from tests.support.mappings import CULPRIT, Write, lines, mistakes, one_rule
from transcoder.errors import MappingError
from transcoder.mapping import (
    expand,
    find_mappings,
    load_mapping,
)

BAD = Path(__file__).with_name("bad")
# Each has one mistake. The mark is on its line, followed by a part of the message.
FILES = sorted(path.stem for path in BAD.iterdir())
ENDLESS = f"parts:\n  p: {'[' * 400_000} {CULPRIT} nest\n"  # too large for a file of the repository


def test_no_file_with_a_mistake_is_missing() -> None:
    assert len(FILES) == 45


@pytest.mark.parametrize("name", [*FILES, "brackets-without-end"])
def test_a_mistake_in_a_file_is_named_with_its_line(write: Write, name: str) -> None:
    text = (BAD / f"{name}.yaml").read_text() if name in FILES else ENDLESS
    (word,) = re.findall(rf"{CULPRIT} (.+)", text)
    problems = mistakes(text, write)
    assert {problem.where for problem in problems} == set(lines(text))
    assert any(word in f"{problem.found} {problem.wanted}" for problem in problems), problems


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"", "an empty file"),
        (b"# nothing but this\n", "an empty file"),
        (b"model_type: \xff\xfe\n", "utf-8"),
        (b"model_type: a\x00b\n", ""),
        (b"#" * (1 << 20), "an empty file"),
        (b"#" * ((1 << 20) + 1), "1048577 bytes"),
    ],
)
def test_a_file_that_is_no_text_of_sense_is_refused_by_name(tmp_path: Path, data: bytes, word: str) -> None:
    (tmp_path / "own.yaml").write_bytes(data)
    with pytest.raises(MappingError) as caught:
        load_mapping(tmp_path / "own.yaml")
    (problem,) = caught.value.problems
    assert problem.where.startswith("own.yaml")
    assert word in problem.found


def test_values_are_as_deep_and_as_large_as_a_mapping_allows(write: Write) -> None:
    deepest, largest = "[" * 14 + "]" * 14, (1 << 63) - 1
    mapping = load_mapping(write(one_rule("{from: v, to: t, shape: [1]}", f"config: {{c: {deepest}, n: {largest}}}")))
    assert mapping.config == {"c": json.loads(deepest), "n": largest}


def test_a_circle_of_extends_is_refused(write: Write) -> None:
    write("extends: b.yaml\n", "a.yaml")
    write("extends: c.yaml\n", "b.yaml")
    path = write("extends: a.yaml\n", "c.yaml")
    with pytest.raises(MappingError, match="circle"):
        load_mapping(path)
    with pytest.raises(MappingError, match="circle"):
        load_mapping(write("extends: self.yaml\n", "self.yaml"))


def test_a_mistake_in_an_extended_file_names_that_file(write: Write) -> None:
    write("parts:\n  p:\n    - {from: v}\n", "base.yaml")
    with pytest.raises(MappingError) as caught:
        load_mapping(write("extends: base.yaml\n"))
    assert {problem.where for problem in caught.value.problems} == {"base.yaml:3"}


@pytest.mark.parametrize("name", ["robarta", "/nowhere/own.yaml", "", "."])
def test_a_mapping_that_is_not_there_is_refused(name: str) -> None:
    with pytest.raises(MappingError) as caught:
        load_mapping(name)
    assert "roberta" in str(caught.value)


def test_an_unknown_model_or_class_is_refused_with_the_closest_match() -> None:
    with pytest.raises(MappingError, match="did you mean roberta"):
        find_mappings("robertta", None)
    with pytest.raises(MappingError, match="no model_type"):
        find_mappings(None, None)
    with pytest.raises(MappingError, match="did you mean RobertaForMaskedLM"):
        expand(load_mapping("roberta"), "RobertaMaskedLM", {})
    with pytest.raises(MappingError) as caught:
        expand(load_mapping("roberta"), "Zzz", {})
    assert "did you mean" not in str(caught.value)
