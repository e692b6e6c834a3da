"""What a contributor meets first: metadata, workflows, `.ci/run`, CONTRIBUTING.md. Each fact stands once."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

import transcoder
from tests.support.paths import ROOT
from transcoder import errors

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
CI = ROOT / ".ci" / "run"


def project() -> dict[str, Any]:
    """pyproject.toml."""
    toml = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    found: dict[str, Any] = toml.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return found


def parts() -> set[str]:
    """The parts that `.ci/run` runs when it is given none."""
    match = re.search(r"^PARTS=\((.+)\)$", CI.read_text(encoding="utf-8"), re.MULTILINE)
    assert match
    return set(match[1].split())


def test_every_address_is_of_one_home() -> None:
    urls = project()["project"]["urls"]
    assert urls["Documentation"] == f"{errors.DOCS}/"
    assert urls["Issues"] == errors.ISSUES == f"{urls['Homepage']}/issues"
    front = [*ROOT.glob("*.md"), *ROOT.glob("*.yml"), ROOT / "CITATION.cff", ROOT / "pyproject.toml"]
    for file in (*front, *(ROOT / ".github").rglob("*.*ml"), *(ROOT / "docs").rglob("*.md")):
        text = file.read_text(encoding="utf-8")
        for address in re.findall(r"https://[\w.]*github[\w.]*/[\w./-]*weight-transcoder[\w./-]*", text):
            raw = urls["Homepage"].replace("github.com", "raw.githubusercontent.com")
            assert address.startswith((urls["Homepage"], errors.DOCS, raw)), (file.name, address)
    assert f"site_url: {urls['Documentation']}\n" in (ROOT / "mkdocs.yml").read_text(encoding="utf-8")


def test_every_page_that_a_message_names_is_in_the_documentation() -> None:
    text = "".join(file.read_text(encoding="utf-8") for file in (ROOT / "transcoder").rglob("*.py"))
    pages = re.findall(r"docs_url\([\"']([\w/-]+)[\"']", text)
    assert "validation" in pages
    for page in pages:
        assert (ROOT / "docs" / f"{page}.md").is_file(), page


def test_the_citation_is_of_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == transcoder.__version__
    assert citation["license"] == project()["project"]["license"]


def test_the_tested_pythons_are_the_promised_ones() -> None:
    metadata = project()["project"]
    promised = [line.rpartition(" ")[2] for line in metadata["classifiers"] if re.search(r":: Python :: 3\.\d+$", line)]
    assert metadata["requires-python"] == f">={promised[0]}"
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "check.yml").read_text(encoding="utf-8"))["jobs"]
    assert jobs["test"]["strategy"]["matrix"]["python"] == promised
    assert jobs["lowest"]["steps"][1]["with"]["python-version"] == promised[0]


def test_every_dependency_has_a_lower_bound() -> None:
    metadata = project()["project"]
    extras = metadata["optional-dependencies"]
    for requirement in (*metadata["dependencies"], *(line for lines in extras.values() for line in lines)):
        if not requirement.startswith("weight-transcoder["):
            assert re.search(r">=|==", requirement), requirement


def test_the_extra_all_has_every_extra_of_a_user() -> None:
    extras = project()["project"]["optional-dependencies"]
    (everything,) = extras["all"]
    assert everything.startswith("weight-transcoder[")
    assert set(re.findall(r"\w+", everything.partition("[")[2])) == extras.keys() - {"all", "test"}


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.name)
def test_a_workflow_runs_parts_that_there_are(file: Path) -> None:
    for line in re.findall(r"run: \.ci/run (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE):
        assert set(line.split()) - {"${{", "matrix.part", "}}"} <= parts() | {"sdist", "lowest"}, line


def test_the_workflows_run_every_part() -> None:
    ran: set[str] = set()
    for file in WORKFLOWS:
        text = file.read_text(encoding="utf-8")
        for line in (*re.findall(r"\.ci/run (.+)$", text, re.MULTILINE), *re.findall(r"part: \[(.+)\]", text)):
            ran.update(re.findall(r"\w+", line))
    assert parts() <= ran


def test_the_first_part_is_the_quickest_to_fail_and_an_unknown_part_is_refused() -> None:
    assert "PARTS=(lint " in CI.read_text(encoding="utf-8")
    done = subprocess.run([CI, "lint", "no-such-part"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "no part no-such-part; there are: lint" in done.stderr


def test_ci_runs_the_command_that_readme_shows() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = re.search(r"^python3 -m venv \.venv && .*pytest -q$", readme, re.MULTILINE)
    assert shown
    assert f"  {shown[0]}\n" in CI.read_text(encoding="utf-8")
    assert shown[0] in (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def test_every_path_that_contributing_names_is_there() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = re.findall(r"`((?:transcoder|tests|tools|docs|mappings|\.github|\.ci)/[\w./-]*)`", text)
    assert len(named) > 10
    for path in named:
        assert (ROOT / path).exists(), path
    for part in parts():
        assert f"`{part}`" in text, part
