"""What config.json and the variables say of a checkpoint: its mapping, its class, its small files, and why."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.support.paths import GOLDEN
from transcoder.errors import MappingError, PlanError
from transcoder.options import Request, parse_options
from transcoder.origins.origin import Origin
from transcoder.origins.transformers import recognise
from transcoder.sources.open import open_source

MODEL = GOLDEN / "roberta-model"


def recognised(path: Path, apart: tuple[Path, ...] = (), **wanted: Any) -> Origin:
    with open_source(path) as source:
        return recognise(source, Request(path, parse_options(), **wanted), apart)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(MODEL, tmp_path / "model"))


def rewrite_config(directory: Path, **values: object) -> None:
    path = directory / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_config_json_and_the_variables_say_what_the_checkpoint_is() -> None:
    origin = recognised(MODEL)
    assert (origin.kind, origin.mapping.name, origin.architecture) == ("transformers", "roberta", "RobertaModel")
    assert origin.config.path == MODEL / "config.json"
    assert all(name == own for name, own in origin.names.items())
    assert len(origin.notes) == 3


def test_what_is_requested_takes_precedence_and_the_notes_say_so(copy: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("extends: roberta\n")
    config = tmp_path / "other.json"
    shutil.move(copy / "config.json", config)
    origin = recognised(copy, mapping=str(own), config=str(config), architecture="RobertaForMaskedLM")
    assert (origin.mapping.name, origin.architecture, origin.config.path) == ("own", "RobertaForMaskedLM", config)
    assert all(note.endswith("as requested") for note in origin.notes)


def test_each_choice_is_logged_with_its_reason(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="transcoder"):
        origin = recognised(MODEL)
    logged = "\n".join(record.getMessage() for record in caplog.records)
    assert all(f"origin transformers: {note}" in logged for note in origin.notes)
    assert "mapping roberta knows 39 of 39 variables" in logged


def test_files_that_are_not_the_checkpoints_are_no_small_files(copy: Path) -> None:
    before = recognised(copy).sidecars
    for name in ("vocab.txt", "notes.txt", "spiece.model"):
        (copy / name).write_text("{}")
    after = recognised(copy, apart=(copy / "spiece.model",)).sidecars
    assert {path.name for path in after.copied} - {path.name for path in before.copied} == {"vocab.txt"}
    assert set(after.left) - set(before.left) == {"notes.txt"}


@pytest.mark.parametrize("architectures", [[], ["RobertaModel", "RobertaForMaskedLM"], None])
def test_a_config_that_does_not_name_one_class_is_refused(copy: Path, architectures: object) -> None:
    rewrite_config(copy, architectures=architectures)
    with pytest.raises(PlanError, match="does not say which architecture"):
        recognised(copy)


def test_a_model_type_without_a_mapping_is_refused(copy: Path) -> None:
    rewrite_config(copy, model_type="robertta")
    with pytest.raises(MappingError, match="did you mean roberta"):
        recognised(copy)
