"""What publishing writes into a model card."""

import json
from pathlib import Path

import pytest

from tests.support.cases import Transcode
from tests.support.publishing import CARD, REPO
from transcoder.receipt import parse_receipt
from transcoder.repository.front_matter import with_metadata

pytestmark = pytest.mark.torch


def test_a_hand_written_card_is_kept_and_our_section_replaced(directory: Path, transcode: Transcode) -> None:
    path = directory / "README.md"
    assert transcode("card", directory, "--repo", REPO).out.strip() == f"{path}: extended"
    first = path.read_text()
    assert "license: mit # chosen with care\nlanguage: [en]\n" in first
    assert "# Tiny\n\nWritten by hand.\n" in first
    assert f'RobertaForMaskedLM.from_pretrained("{REPO}")' in first
    assert "| weights | passed |" in first
    assert transcode("card", directory, "--repo", REPO).out.strip() == f"{path}: unchanged"
    path.write_text(first.replace("| weights | passed |", "| weights | lies |") + "\nMore by hand.\n")
    assert transcode("card", directory, "--repo", REPO).code == 0
    assert path.read_text() == first + "\nMore by hand.\n"
    assert transcode("check", directory).code == 0
    assert transcode("verify-receipt", directory).code == 0


def test_a_broken_pair_of_comments_is_refused(directory: Path, transcode: Transcode) -> None:
    path = directory / "README.md"
    transcode("card", directory, "--repo", REPO)
    path.write_text(path.read_text().replace("<!-- transcode: end -->", ""))
    before = path.read_text()
    assert transcode("card", directory, "--repo", REPO).code == 2
    assert path.read_text() == before


def test_names_of_the_source_can_not_break_out_of_the_card(directory: Path) -> None:
    from transcoder.publishing.card_section import make_section, with_section, without_section

    receipt = json.loads((directory / "transcode.json").read_text())
    report = json.loads((directory / "validation.json").read_text())
    evil = "`x` | <script>\n<!-- transcode: end -->\n# Owned"
    receipt["tensors"][0]["from"] = [evil]
    receipt["source"]["producer"] = evil
    receipt["dropped"] = [{"name": evil, "what": evil, "why": evil, "rule": evil}]
    report["levels"][0]["summary"] = evil
    section = make_section(parse_receipt(json.dumps(receipt)), report, REPO, tokenizer=True)
    assert "\n# Owned" not in section
    assert without_section(with_section(CARD, section)).strip() == CARD.strip()
    assert "<script>" not in section.replace("\\<script\\>", "").replace("`'x' \\| <script>", "")


def test_metadata_is_added_without_rewriting_what_stands() -> None:
    assert with_metadata("# X\n", {"license": "mit"}) == "---\nlicense: mit\n---\n\n# X\n"
    assert with_metadata("---\nlicense:\ntags: [a] # b\n---\n# X\n", {"license": "mit"}) == (
        "---\ntags: [a] # b\nlicense: mit\n---\n# X\n"
    )
    assert with_metadata(CARD, {"license": "apache-2.0"}) == CARD
