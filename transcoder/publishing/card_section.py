"""Our section of a model card: where the weights came from, what was done to them, the proof, and how to load them.

It stands between two comments, and is replaced as a whole; what stands outside of them is somebody else's. Every name
in it is of a file that is not trusted: it can end neither its cell nor the section.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from transcoder.artifacts import CARD
from transcoder.errors import Problem, UsageError
from transcoder.receipt import Receipt, TensorRecord

BEGIN = "<!-- transcode: begin. Made by weight-transcoder and replaced by it: write outside of these lines. -->"
END = "<!-- transcode: end -->"
_BEGIN = re.compile(r"^<!-- transcode: begin\b.*-->[ \t]*$", re.MULTILINE)
_END = re.compile(r"^<!-- transcode: end -->[ \t]*$\n?", re.MULTILINE)
_MOVING = ("transpose", "reshape", "squeeze", "slice", "concat")  # operations that change no value
_NUMBER = re.compile(r"(?<=[._/])\d+(?=[._/])")


def without_section(text: str) -> str:
    """The card without our section, and without the blank lines around it.

    Raises UsageError: the section's comments are not a pair.
    """
    before, after = _around(text)
    return f"{before.rstrip()}\n\n{after.lstrip()}".strip() + "\n" if before or after else ""


def with_section(text: str, section: str) -> str:
    """The card with our section in place of the one that it has, or at its end.

    Raises UsageError: the section's comments are not a pair.
    """
    before, after = _around(text)
    head = before.rstrip("\n") + "\n\n" if before.strip() else ""
    tail = "\n" + after.lstrip("\n") if after.strip() else ""
    return f"{head}{BEGIN}\n{section.strip()}\n{END}\n{tail}"


def _around(text: str) -> tuple[str, str]:
    begins, ends = list(_BEGIN.finditer(text)), list(_END.finditer(text))
    if not begins and not ends:
        return text, ""
    if len(begins) != 1 or len(ends) != 1 or begins[0].start() > ends[0].start():
        raise UsageError(
            "the card can't be extended",
            Problem(CARD, f"{len(begins)} times the section's begin, {len(ends)} times its end",
                    "a pair of them, or none", "remove the rest of the section by hand"),
        )  # fmt: skip
    return text[: begins[0].start()], text[ends[0].end() :]


def make_section(receipt: Receipt, report: Mapping[str, Any], repo: str, *, tokenizer: bool) -> str:
    """The section's Markdown, the same for the same evidence. `repo` is how users will name the model."""
    parts = [
        "## PyTorch weights, converted from TensorFlow",
        _intro(receipt),
        "### How to load",
        _load(receipt, repo, tokenizer=tokenizer),
        "### Where they came from",
        _provenance(receipt),
        "### What was done",
        _changes(receipt),
        "### Proof",
        _proof(report),
    ]
    return "\n\n".join(parts)


def _intro(receipt: Receipt) -> str:
    policy = receipt.options["dtype"]
    values = "every value is bit for bit the source's" if policy == "keep" else f"floating values were cast to {policy}"
    made = sum(any(not op.startswith(_MOVING) for op in tensor.ops) for tensor in receipt.tensors)
    if policy == "keep" and made:
        values = f"every value is bit for bit the source's, but for {made} tensors as listed below"
    return (
        f"`{receipt.architecture}` in safetensors, made by "
        f"weight-transcoder {code(receipt.transcoder)} without TensorFlow; {values}."
    )


def _load(receipt: Receipt, repo: str, *, tokenizer: bool) -> str:
    architecture = receipt.architecture
    names = f"{architecture}, AutoTokenizer" if tokenizer else architecture
    lines = ["```python", f"from transformers import {names}", "", f'model = {architecture}.from_pretrained("{repo}")']
    if tokenizer:
        lines.append(f'tokenizer = AutoTokenizer.from_pretrained("{repo}")')
    return "\n".join([*lines, "```"])


def _provenance(receipt: Receipt) -> str:
    source, mapping = receipt.source, receipt.mapping
    rows = [
        ("source", f"{code(source.kind)}, written by {code(source.producer)}"),
        ("its files", ", ".join(code(name) for name in source.files)),
        ("blake3 of its variables", code(source.blake3)),
        ("tool", f"weight-transcoder {code(receipt.transcoder)}"),
        ("mapping", f"{code(mapping.name)}, blake3 {code(mapping.blake3)}"),
        ("receipt", "`transcode.json`: every tensor with its source, its operations and its blake3"),
    ]
    return _table(("", ""), rows)


def _changes(receipt: Receipt) -> str:
    tensors, dropped = receipt.tensors, receipt.dropped
    renamed = sum(tensor.sources != (tensor.name,) for tensor in tensors)
    transposed = sum(any(op.startswith("transpose") for op in tensor.ops) for tensor in tensors)
    other = sum(any(not op.startswith("transpose") for op in tensor.ops) for tensor in tensors)
    parts = [
        f"{len(tensors)} tensors: {renamed} renamed, {transposed} transposed, {other} reshaped, cut, joined or cast; "
        f"{len(dropped)} variables dropped.",
    ]
    parts += [f"Note: {plain(note)}." for note in receipt.notes]
    if dropped:
        rows = [(code(item.name), plain(item.what), plain(item.why)) for item in dropped]
        parts.append(_details("Dropped", _table(("variable", "what", "why"), rows)))
    folded = [(code(name), code(origin), code(how), str(count)) for name, origin, how, count in _folded(tensors)]
    parts.append(_details("Every tensor", _table(("tensor", "from", "how", "times"), folded)))
    return "\n\n".join(parts)


def _folded(tensors: Sequence[TensorRecord]) -> list[tuple[str, str, str, int]]:
    """Tensors of all layers as one row: those that differ in numbers alone."""
    rows: dict[tuple[str, str, str], int] = {}
    for tensor in tensors:
        how = ", ".join(tensor.ops) or "as it is"
        origin = ", ".join(_NUMBER.sub("{n}", name) for name in tensor.sources)
        key = (_NUMBER.sub("{n}", tensor.name), origin, how)
        rows[key] = rows.get(key, 0) + 1
    return [(*key, count) for key, count in rows.items()]


def _proof(report: Mapping[str, Any]) -> str:
    rows = [(level["name"], level["verdict"], plain(level["summary"])) for level in report["levels"]]
    versions = ", ".join(f"{name} {plain(version)}" for name, version in report["environment"].items())
    check = (
        "`validation.json` has the whole report and the blake3 of every file. Whoever has this directory can check "
        "that its files are the ones that were validated: `transcode verify-receipt DIR`."
    )
    return "\n\n".join([_table(("level", "verdict", "what was compared"), rows), f"Validated with {versions}.", check])


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _details(summary: str, inside: str) -> str:
    return f"<details><summary>{summary}</summary>\n\n{inside}\n\n</details>"


def plain(value: object) -> str:
    """Text of others in a cell or a line: no markup, no end of the cell."""
    text = "".join(character if character.isprintable() else " " for character in str(value))
    return re.sub(r"([\\`*_{}\[\]<>|#!~])", r"\\\1", text)


def code(value: object) -> str:
    """A name of others as code."""
    text = "".join(character if character.isprintable() else "?" for character in str(value))
    return "`" + text.replace("`", "'").replace("|", "\\|").replace("<!--", "<! --") + "`"
