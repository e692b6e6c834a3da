"""The section of a model card that this program writes: origin, changes, proof, and how to load the model.

It is between two comments and is replaced as a whole; the text outside belongs to the card's author. Its names come
from untrusted files, so they are escaped: a name can end neither its cell nor the section.
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
    """Return the card without the section and the blank lines around it.

    Raises UsageError: the section's comments are not a pair.
    """
    before, after = _around(text)
    return f"{before.rstrip()}\n\n{after.lstrip()}".strip() + "\n" if before or after else ""


def with_section(text: str, section: str) -> str:
    """Return the card with its section replaced, or with the section at its end.

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
            "the section of the card is damaged",
            Problem(
                CARD,
                f"{len(begins)} begin and {len(ends)} end comments",
                "one pair, or none",
                "remove the remains of the section",
            ),
        )
    return text[: begins[0].start()], text[ends[0].end() :]


def make_section(receipt: Receipt, report: Mapping[str, Any], repo: str, *, tokenizer: bool) -> str:
    """Return the section's Markdown, equal for equal evidence. `repo` is the name that its code loads."""
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
    """Return one row for tensors that differ only in numbers, such as those of all layers."""
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
    """Return untrusted text for a cell or a line: no markup, no end of the cell."""
    text = "".join(character if character.isprintable() else " " for character in str(value))
    return re.sub(r"([\\`*_{}\[\]<>|#!~])", r"\\\1", text)


def code(value: object) -> str:
    """Return an untrusted name as inline code."""
    text = "".join(character if character.isprintable() else "?" for character in str(value))
    return "`" + text.replace("`", "'").replace("|", "\\|").replace("<!--", "<! --") + "`"
