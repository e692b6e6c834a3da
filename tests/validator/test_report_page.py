"""The validation report: its schema, and its page in a real browser."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import transcoder
from tests.support.browser import Page, browser
from tests.support.cases import Transcode
from tests.support.paths import GOLDEN, ROOT
from transcoder.validator.histogram import make_histogram, measure
from transcoder.validator.page.build import render

SCHEMA = json.loads((ROOT / "docs" / "reference" / "report.schema.json").read_text(encoding="utf-8"))
CASE = "roberta-sequence-classification"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """Return a report and its page: a conversion to float16 of a checkpoint with dropped variables."""
    here = tmp_path_factory.mktemp("page")
    source = GOLDEN / "roberta-model-checkpoint"
    transcoder.convert(source, here / "out", dtype="float16")
    transcoder.validate(source, here / "out", truth="numpy", page=here / "page.html")
    return json.loads((here / "out" / "validation.json").read_text(encoding="utf-8")), here / "page.html"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browser(tmp_path_factory.mktemp("browser")) as opened:
        yield opened


def check(report: object) -> None:
    jsonschema.Draft202012Validator(SCHEMA).validate(report)


def broken(tmp_path: Path) -> tuple[Path, Path]:
    """Return an output with one changed value, one missing tensor, and one of another shape."""
    transcoder.convert(GOLDEN / CASE, tmp_path / "out")
    path = tmp_path / "out" / "model.safetensors"
    tensors = load_file(path)
    tensors["classifier.dense.weight"][3, 4] += 0.5
    del tensors["classifier.dense.bias"]
    tensors["classifier.out_proj.bias"] = np.zeros(7, np.float32)
    save_file(tensors, path, {"format": "pt"})
    return GOLDEN / CASE, tmp_path / "out"


# The data


def test_a_report_is_as_the_schema_says(made: tuple[dict[str, Any], Path]) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    check(made[0])


def test_a_failing_report_is_as_the_schema_says_too(tmp_path: Path, transcode: Transcode) -> None:
    source, out = broken(tmp_path)
    seen = transcode("validate", source, out, "--level", "weights", "--page", tmp_path / "page.html", "--json")
    assert seen.code == 6
    check(seen.json)
    records = {each["name"]: each for each in seen.json["tensors"]}
    assert {name for name, each in records.items() if not each["equal"]} == {
        "classifier.dense.weight", "classifier.dense.bias", "classifier.out_proj.bias",
    }  # fmt: skip
    assert records["classifier.dense.weight"]["error"] == pytest.approx(0.5)
    assert records["classifier.dense.bias"]["dtype"] == ""
    assert records["classifier.out_proj.bias"]["blake3"] is None


def test_the_schema_allows_no_key_that_it_does_not_name(made: tuple[dict[str, Any], Path]) -> None:
    for part in (SCHEMA, *SCHEMA["$defs"].values()):
        assert part["additionalProperties"] is False
        assert set(part["required"]) == set(part["properties"])
    with pytest.raises(jsonschema.ValidationError):
        check({**made[0], "more": 1})


def test_the_tensors_of_the_report_are_what_the_receipt_says_they_are(made: tuple[dict[str, Any], Path]) -> None:
    receipt = json.loads((made[1].parent / "out" / "transcode.json").read_text())
    found = {each["name"]: (each["dtype"], each["shape"], each["sources"], each["ops"], each["blake3"])
             for each in made[0]["tensors"]}  # fmt: skip
    assert found == {t["name"]: (t["dtype"], t["shape"], t["from"], t["ops"], t["blake3"]) for t in receipt["tensors"]}
    dropped = {each["name"]: each["why"] for each in made[0]["dropped"]}
    assert dropped == {each["name"]: each["why"] for each in receipt["dropped"]}


def test_error_and_size_of_a_tensor_are_what_numpy_measures(made: tuple[dict[str, Any], Path]) -> None:
    narrow = load_file(made[1].parent / "out" / "model.safetensors")
    transcoder.convert(GOLDEN / "roberta-model-checkpoint", made[1].parent / "wide")
    wide = load_file(made[1].parent / "wide" / "model.safetensors")
    for each in made[0]["tensors"]:
        a, b = wide[each["name"]].astype(np.float64), narrow[each["name"]].astype(np.float64)
        assert each["error"] == np.abs(a - b).max()
        assert each["largest"] == np.abs(a).max()


def test_without_a_page_nothing_is_measured(tmp_path: Path, converted: dict[str, Path]) -> None:
    report = transcoder.validate(GOLDEN / CASE, converted[CASE], level="weights", report=tmp_path / "report.json")
    contents = json.loads((tmp_path / "report.json").read_text())
    check(contents)
    assert contents["values"] is None
    assert all(each["error"] is None and each["blake3"] for each in contents["tensors"])
    assert report.to_json() == contents


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16", "int64", "bool"])
def test_values_are_counted_into_the_bins_where_they_lie(dtype: str) -> None:
    values = np.array([0, 1, 1.5, 2, 3, 1e4, 2**-30, -1, -1.99, -5, np.inf, -np.inf, np.nan, 6e4], np.float64)
    if dtype in ("int64", "bool"):
        values = np.array([0, 1, 2, 3, -1, -7, 2**39])
    if dtype == "bfloat16":
        stored = (values.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
        values = (stored.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    else:
        stored = values.astype(dtype)
        values = stored.astype(np.float64)
    bins = make_histogram(measure(stored, dtype, stored, dtype))
    for each in bins:
        if math.isnan(each.start):
            wanted = np.isnan(values)
        elif each.start == each.stop:
            wanted = values == each.start
        elif each.start < 0:
            wanted = (values > each.start) & (values <= each.stop)
        else:
            wanted = (values >= each.start) & (values < each.stop)
        assert (each.source, each.output) == (int(wanted.sum()), int(wanted.sum())), each
    assert sum(each.source for each in bins) == values.size


def test_what_a_narrower_type_can_not_hold_is_seen_in_the_bins() -> None:
    values = np.array([1e6, -1e6, 1e-12, 1.0], np.float32)
    with np.errstate(over="ignore"):
        narrow = values.astype(np.float16)
    measured = measure(values, "float32", narrow, "float16")
    assert measured is not None
    assert (measured.error, measured.largest) == (math.inf, 1e6)
    by_start = {each.start: each for each in make_histogram(measured)}
    assert (by_start[math.inf].output, by_start[-math.inf].output, by_start[0.0].output) == (1, 1, 1)
    assert (by_start[math.inf].source, by_start[0.0].source) == (0, 0)


# The page


def test_a_page_is_one_file_that_names_no_other() -> None:
    text = render(json.loads(json.dumps(fake(3))))
    assert not re.search(r"(src|href)\s*=\s*[\"'](?!#)", text)
    assert not re.search(r"@import|url\(|https?://", text)
    assert text == render(json.loads(json.dumps(fake(3))))


def fake(count: int, name: str = "layer.{i}.weight") -> Any:
    tensor = {"dtype": "float32", "shape": [3, 4], "sources": ["a/kernel"], "ops": ["transpose[1, 0]"],
              "rule": "x.yaml:1", "equal": True, "blake3": "ab" * 32, "error": 0.0, "largest": 1.0}  # fmt: skip
    return {
        "format": 1, "passed": True, "architecture": "SomeModel", "mapping": "some",
        "levels": [{"name": "weights", "verdict": "passed", "summary": "all", "findings": [], "columns": [], "rows": [],
                    "notes": [], "facts": {}}],
        "environment": {"transcoder": "0"}, "source": {"name": "x", "kind": "keras-h5", "producer": "Keras"},
        "tensors": [{**tensor, "name": name.format(i=i), "shape": [3, i + 1]} for i in range(count)],
        "dropped": [], "values": None,
    }  # fmt: skip


@pytest.mark.torch
def test_the_page_says_the_verdict_first_and_shows_everything(made: tuple[dict[str, Any], Path], page: Page) -> None:
    page.size(1280, 900)
    page.open(made[1])
    report = made[0]
    text = page.evaluate("document.body.innerText")
    assert text.startswith("✓ the same model")
    for section in ("Error by layer", "Values, source against output", "Tensors", "Dropped", "Environment"):
        assert section in text
    assert page.evaluate("document.querySelectorAll('#rows tr').length") == len(report["tensors"])
    for each in report["dropped"]:
        assert each["name"] in text
        assert each["why"] in text
    for each in report["tensors"]:
        assert each["name"] in text
        assert ", ".join(each["sources"]) in text
        assert each["blake3"] in page.evaluate("document.getElementById('rows').textContent")
    for name, version in report["environment"].items():
        assert f"{name}\n{version}" in text
    # A bar for each layer and for each output, and one for each bin that is drawn.
    assert page.evaluate("document.querySelectorAll('.bars tr').length") >= 4 + len(report["levels"][2]["rows"])
    assert page.evaluate("document.querySelectorAll('.histogram rect').length") > 10


def test_the_page_requests_nothing_and_the_browser_does_not_complain(
    made: tuple[dict[str, Any], Path], page: Page
) -> None:
    page.requests.clear()
    page.open(made[1])
    page.evaluate("new Promise(done => setTimeout(done, 100))")
    assert page.requests == [made[1].as_uri()]
    assert page.complaints == []


SHOWN = "[...document.querySelectorAll('#rows tr')].map(row => row.cells[0].textContent)"
SEARCH = """(async words => {{
  const field = document.getElementById('search');
  field.value = words;
  field.dispatchEvent(new Event('input'));
  await new Promise(done => setTimeout(done, 400));
  return {shown};
}})({words})"""


def search(page: Page, words: str) -> list[str]:
    found: list[str] = page.evaluate(SEARCH.format(shown=SHOWN, words=json.dumps(words)))
    return found


def test_the_table_is_searched_by_every_word(made: tuple[dict[str, Any], Path], page: Page) -> None:
    page.size(1280, 900)
    page.open(made[1])
    names = [each["name"] for each in made[0]["tensors"]]
    assert search(page, "layer.1 Query") == [n for n in names if "layer.1" in n and "query" in n]
    assert page.evaluate("document.getElementById('count').textContent") == f"2 of {len(names)} tensors"
    digest = made[0]["tensors"][5]["blake3"]
    assert search(page, digest[:20]) == [names[5]]
    assert search(page, "no such tensor") == []
    assert search(page, "") == names


def test_the_table_is_sorted_by_a_click_on_its_head(made: tuple[dict[str, Any], Path], page: Page) -> None:
    page.size(1280, 900)
    page.open(made[1])
    click = "document.querySelectorAll('.tensors th button')[{}].click()"
    elements = {each["name"]: math.prod(each["shape"]) for each in made[0]["tensors"]}
    page.evaluate(click.format(2))
    shown = page.evaluate(SHOWN)
    assert [elements[name] for name in shown] == sorted(elements.values())
    assert page.evaluate("document.querySelectorAll('.tensors th')[2].getAttribute('aria-sort')") == "ascending"
    page.evaluate(click.format(2))
    assert [elements[name] for name in page.evaluate(SHOWN)] == sorted(elements.values(), reverse=True)
    errors = {each["name"]: float(f"{each['error']:.2e}") for each in made[0]["tensors"]}
    page.evaluate(click.format(6))
    assert [errors[name] for name in page.evaluate(SHOWN)] == pytest.approx(sorted(errors.values()), rel=1e-2)


def test_layer_10_comes_after_layer_9(tmp_path: Path, page: Page) -> None:
    (tmp_path / "page.html").write_text(render(fake(12)), encoding="utf-8")
    page.open(tmp_path / "page.html")
    page.evaluate("document.querySelectorAll('.tensors th button')[0].click()")
    assert page.evaluate(SHOWN) == [f"layer.{i}.weight" for i in range(12)]


def test_thirty_thousand_tensors_are_shown_some_hundred_at_a_time(tmp_path: Path, page: Page) -> None:
    (tmp_path / "page.html").write_text(render(fake(30_000)), encoding="utf-8")
    page.open(tmp_path / "page.html")
    count = "document.querySelectorAll('#rows tr').length"
    assert page.evaluate(count) == 200
    page.evaluate("document.getElementById('more').click()")
    assert page.evaluate(count) == 400
    assert search(page, "layer.29999.") == ["layer.29999.weight"]
    assert page.evaluate("document.getElementById('count').textContent") == "1 of 30,000 tensors"
    page.evaluate("document.querySelectorAll('.tensors th button')[0].click()")
    assert page.evaluate(count) == 1


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_nothing_is_wider_than_the_screen(width: int, made: tuple[dict[str, Any], Path], page: Page) -> None:
    page.size(width, 800)
    page.open(made[1])
    assert page.evaluate("document.documentElement.scrollWidth") <= width


CONTRAST = """(() => {
  const light = text => {
    const [r, g, b] = text.match(/[\\d.]+/g).slice(0, 3).map(Number)
      .map(c => c / 255).map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = element => {
    for (let at = element; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if (!/rgba\\(.*, 0\\)/.test(colour)) return colour;
    }
    return 'rgb(255, 255, 255)';
  };
  const found = [];
  for (const element of document.querySelectorAll('body *')) {
    if (![...element.childNodes].some(node => node.nodeType === 3 && node.textContent.trim())) continue;
    if (element.closest('script, svg')) continue;
    const a = light(getComputedStyle(element).color), b = light(ground(element));
    found.push([(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), element.tagName + '.' + element.className]);
  }
  return found.sort((x, y) => x[0] - y[0])[0];
})()"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_stands_out_from_its_ground(scheme: str, tmp_path: Path, page: Page) -> None:
    source, out = broken(tmp_path)
    transcoder.validate(source, out, truth="numpy", page=tmp_path / "page.html")
    page.prefer(scheme)
    page.size(1280, 900)
    page.open(tmp_path / "page.html")
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == ("rgb(255, 255, 255)" if scheme == "light" else "rgb(13, 17, 23)")
    worst, where = page.evaluate(CONTRAST)
    assert worst >= 4.5, where  # WCAG 2.2, 1.4.3
    page.prefer("light")


def test_a_page_of_a_failure_says_what_is_wrong_before_all_else(tmp_path: Path, page: Page) -> None:
    source, out = broken(tmp_path)
    report = transcoder.validate(source, out, truth="numpy", page=tmp_path / "page.html")
    page.open(tmp_path / "page.html")
    text = page.evaluate("document.body.innerText")
    assert text.startswith("✗ not proven to be the same model")
    for level in report.levels:
        for finding in level.findings:
            assert finding.where in text
            assert finding.found in text
    assert page.evaluate("document.querySelectorAll('#rows tr.differs').length") == 3


def test_a_hostile_name_stays_text(tmp_path: Path, page: Page) -> None:
    name = "</script><script>document.title = 'taken'</script><img src=x onerror=\"document.title='taken'\">&amp;{i}"
    report = fake(2, name)
    report["levels"][0]["findings"] = [dict.fromkeys(("where", "found", "wanted", "remedy"), name)]
    report["dropped"] = [{"name": name, "what": name, "why": name, "rule": name}]
    (tmp_path / "page.html").write_text(render(report), encoding="utf-8")
    page.complaints.clear()
    page.open(tmp_path / "page.html")
    assert page.evaluate("document.title") == "SomeModel: the same model"
    assert page.evaluate(SHOWN) == [name.format(i=i) for i in range(2)]
    assert page.evaluate("document.querySelectorAll('img').length") == 0
    assert page.complaints == []


def test_the_page_prints_every_tensor(tmp_path: Path, page: Page) -> None:
    (tmp_path / "page.html").write_text(render(fake(450)), encoding="utf-8")
    page.open(tmp_path / "page.html")
    page.call("Page.printToPDF")
    assert page.evaluate("document.querySelectorAll('#rows tr').length") == 450


def test_without_script_only_the_rest_of_a_long_table_is_missing(tmp_path: Path, page: Page) -> None:
    (tmp_path / "page.html").write_text(render(fake(150)), encoding="utf-8")
    page.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        page.open(tmp_path / "page.html")
        text = page.evaluate("document.body.innerText")
    finally:
        page.call("Emulation.setScriptExecutionDisabled", value=False)
    assert text.startswith("✓ the same model")
    assert "layer.99.weight" in text
    assert "layer.100.weight" not in text
    assert "The first 100 of 150 tensors" in text


def test_a_place_that_can_not_be_written_is_an_error(
    transcode: Transcode, output: Callable[[str], Path], tmp_path: Path
) -> None:
    words = ("validate", GOLDEN / CASE, output(CASE), "--level", "weights", "--page", tmp_path / "none" / "page.html")
    seen = transcode(*words)
    assert seen.code == 6
    assert "--page" in seen.err
    assert not (tmp_path / "none").exists()


def test_details_are_all_in_the_schema() -> None:
    from transcoder.validator.histogram import Bin
    from transcoder.validator.records import DroppedRecord, TensorRecord

    for kind, name in ((TensorRecord, "tensor"), (DroppedRecord, "dropped"), (Bin, "bin")):
        assert {field.name for field in dataclasses.fields(kind)} == set(SCHEMA["$defs"][name]["properties"])
