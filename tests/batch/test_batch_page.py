"""The page of a batch in a real browser: it sorts and filters, hides nothing, and runs no text that it shows."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from transcoder.batching.items import Item
from transcoder.batching.outcome import Outcome
from transcoder.batching.page import render

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
HOSTILE = "</td><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"


def outcomes() -> list[Outcome]:
    def facts(size: int, seconds: float) -> dict[str, Any]:
        proof = [{"level": "weights", "verdict": "passed", "summary": "39 of 39 tensors bit-equal"}]
        return {"bytes": size, "seconds": seconds, "tensors": 39, "architecture": "RobertaModel", "proof": proof}

    problem = {"where": HOSTILE, "found": "{{rows}}", "wanted": "a file", "remedy": "look"}
    error = {"error": "SourceError", "exit_code": 3, "summary": f"damaged {HOSTILE}", "problems": [problem]}
    return [
        Outcome(Item("a/model-10", "x", 5, "Keras HDF5"), "done", facts(2_000_000, 0.5)),
        Outcome(Item("a/model-9", "x", 5, "SavedModel"), "done", facts(900_000_000, 12.0)),
        Outcome(Item("b/{{title}}", "x", 5, "SavedModel"), "skipped", facts(30_000, 0.1)),
        Outcome(Item(f"z/{HOSTILE}", "x", 5, "Keras HDF5"), "failed", {"seconds": 0.2}, error),
    ]


@pytest.fixture
def page() -> str:
    return render(outcomes(), root="/models & more", seconds=13.0, made=0.0)


class Reader(HTMLParser):
    """Collect the items' names in the order of the rows, and whatever a page could fetch or run."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []
        self.fetched: list[str] = []
        self._in_name = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self._in_name = tag == "td" and values.get("class") == "name"
        self.names += [""] if self._in_name else []
        self.fetched += [f"{tag} {name}" for name in values if name in ("src", "href") or name.startswith("on")]

    def handle_data(self, data: str) -> None:
        if self._in_name:
            self.names[-1] += data

    def handle_endtag(self, tag: str) -> None:
        self._in_name = False


def test_failures_come_first_and_nothing_is_fetched_or_run(page: str) -> None:
    reader = Reader()
    reader.feed(page)
    assert reader.names == [f"z/{HOSTILE}", "a/model-10", "a/model-9", "b/{{title}}"]
    assert reader.fetched == []
    assert page.count("<script>") == 1
    assert not re.search(r"url\(|@import|https?:", page)


@pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")
def test_a_browser_sorts_and_filters_it(page: str, tmp_path: Path) -> None:
    script = """
const every = () => [...document.querySelectorAll("tbody tr")];
const names = () => every().filter(r => !r.hidden).map(r => r.cells[1].innerText);
const press = heading => [...document.querySelectorAll("th button")].find(b => b.textContent === heading).click();
const box = document.getElementById("filter");
const type = text => { box.value = text; box.dispatchEvent(new Event("input")); };
const found = {first: names()};
press("bytes"); found.largest = names(); press("bytes"); found.smallest = names();
press("checkpoint"); found.named = names();
found.marked = [...document.querySelectorAll("th[aria-sort]")].map(h => h.innerText.trim().split(" ")[0]);
type("savedmodel"); found.filtered = names(); found.said = document.getElementById("shown").textContent;
type("nothing has this"); found.none = document.getElementById("none").hidden; type("");
document.querySelector("input[data-state=failed]").click(); found.unfailed = names();
document.querySelector("details").open = true;
found.title = document.title; found.opened = document.querySelector("details").innerText;
const dark = matchMedia("(prefers-color-scheme: dark)").matches;
found.ground = [dark, getComputedStyle(document.body).backgroundColor];
const out = document.createElement("pre");
out.id = "found"; out.textContent = JSON.stringify(found); document.body.append(out);
"""
    path = tmp_path / "page.html"
    path.write_text(page.replace("</body>", f"<script>{script}</script></body>"), encoding="utf-8")

    def opened(*words: str) -> Any:
        assert BROWSER is not None
        command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync",
                   "--disable-background-networking", "--disable-component-update", "--disable-quic",
                   f"--user-data-dir={tmp_path / 'profile'}", *words, "--dump-dom", path.as_uri()]  # fmt: skip
        dom = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
        (text,) = re.findall(r'<pre id="found">(.*?)</pre>', dom, re.DOTALL)
        parser = Plain()
        parser.feed(text)
        return json.loads(parser.text)

    found = opened()
    hostile, ten, nine, other = f"z/{HOSTILE}", "a/model-10", "a/model-9", "b/{{title}}"
    assert found["first"] == [hostile, ten, nine, other]
    assert found["largest"] == [nine, ten, other, hostile]
    assert found["smallest"] == [hostile, other, ten, nine]
    assert found["named"] == [nine, ten, other, hostile]  # 9 before 10
    assert found["marked"] == ["checkpoint"]
    assert found["filtered"] == [nine, other]
    assert found["said"] == "2 of 4 shown"
    assert found["none"] is False
    assert found["unfailed"] == [nine, ten, other]
    assert found["title"] == "Batch: /models & more"
    assert "{{rows}}" in found["opened"]
    assert HOSTILE in found["opened"]
    assert found["ground"] == [False, "rgb(255, 255, 255)"]
    assert opened("--blink-settings=preferredColorScheme=0")["ground"] == [True, "rgb(20, 24, 29)"]


class Plain(HTMLParser):
    """Read text without its escapes."""

    def __init__(self) -> None:
        super().__init__()
        self.text = ""

    def handle_data(self, data: str) -> None:
        self.text += data
