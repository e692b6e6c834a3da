"""Write docs/reference/ from the code.

    .venv/bin/python -m tools.docs.reference

The command line comes from click, the Python API from docstrings, the keys of the YAML language from the parser, the
report from its schema. A key or an option without a description is an error. A test finds stale pages.
"""

from __future__ import annotations

import argparse
import ast
import dataclasses
import inspect
import json
import re
from collections.abc import Iterator
from typing import Any

import click

import transcoder
from tools.docs.docstrings import parse_docstring
from tools.docs.markdown import table
from tools.docs.yaml_keys import FUNCTIONS, INTRODUCTION, KEYS
from tools.paths import DOCS
from transcoder import errors
from transcoder.cli import entry as cli
from transcoder.mapping import expressions, parse

OUT = DOCS / "reference"
SCHEMA = "report.schema.json"
MADE = "<!-- made by tools/docs/reference.py -->\n\n"


# The command line


def commands(command: click.Command, context: click.Context) -> Iterator[tuple[str, click.Command, click.Context]]:
    """Yield every registered command with its whole name and its context."""
    yield context.command_path, command, context
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            if inner is not None:
                yield from commands(inner, click.Context(inner, info_name=name, parent=context))


def command_line() -> str:
    root = click.Context(cli.cli, info_name="transcode", **cli.cli.context_settings)
    parts = [MADE + "# Command line\n"]
    for path, command, context in commands(cli.cli, root):
        usage = " ".join(command.collect_usage_pieces(context))
        parts += [f"## `{path}`\n", f"```text\n{path} {usage}\n```\n", prose(command.help or "")]
        rows = [option(each, context) for each in command.params if isinstance(each, click.Option)]
        if rows and not isinstance(command, click.Group):
            parts.append(table(["option", "what it does", "default"], rows))
        if command.epilog:
            parts.append(prose(command.epilog))
    return "\n".join(parts)


def prose(text: str) -> str:
    """Return help as Markdown: paragraphs, and verbatim what click must not wrap."""
    blocks = inspect.cleandoc(text).split("\n\n")
    return "\n\n".join(map(paragraph, blocks)) + "\n"


def paragraph(block: str) -> str:
    """Return a block of help as Markdown. The URL of a page of the documentation becomes a link to its file."""
    if page := re.fullmatch(rf"\x08\n(\w+): {re.escape(errors.DOCS)}/([\w-]*)/?", block):
        return f"{page[1]}: [{page[2] or 'all pages'}](../{page[2] or 'README'}.md)"
    return f"```text\n{block[2:].rstrip()}\n```" if block.startswith("\b\n") else " ".join(block.split())


def option(each: click.Option, context: click.Context) -> list[str]:
    if not each.help:
        raise SystemExit(f"{context.command_path} {each.opts[0]} has no help")
    name = ", ".join(f"`{word}`" for word in each.opts)
    if not each.is_flag and not each.count:
        kind = "|".join(each.type.choices) if isinstance(each.type, click.Choice) else each.make_metavar(context)
        name += f" {kind}"
    text, _, shown = each.help.partition("  [default: ")
    default = shown.rstrip("]") or (str(each.default) if each.show_default else "")
    return [name, text, default]


# The Python API


def python() -> str:
    parts = [MADE + "# Python\n", "`import transcoder` is cheap: each name loads its part on first use.\n"]
    functions = [name for name in transcoder.__all__ if inspect.isfunction(getattr(transcoder, name))]
    classes = [name for name in transcoder.__all__ if inspect.isclass(getattr(transcoder, name))]
    errors = [name for name in classes if issubclass(getattr(transcoder, name), Exception)]
    for name in functions:
        parts += [f"## `transcoder.{name}`\n", signature(getattr(transcoder, name), name), document(name)]
    for name in classes:
        if name not in errors:
            parts += [f"## `transcoder.{name}`\n", document(name), members(getattr(transcoder, name))]
    parts += [
        "## Errors\n",
        "All have `summary`, `problems` (each with `where`, `found`, `wanted`, `remedy`) and `exit_code`.\n",
    ]
    rows = [
        [f"`{name}`", str(getattr(transcoder, name).exit_code), inspect.getdoc(getattr(transcoder, name)) or ""]
        for name in errors
    ]
    parts.append(table(["error", "exit code", "when"], rows))
    return "\n".join(part for part in parts if part)


def signature(function: Any, name: str) -> str:
    """Return a signature with each parameter on a line of its own."""
    found = inspect.signature(function)
    words = []
    for each in found.parameters.values():
        if each.kind is each.KEYWORD_ONLY and "    *," not in words:
            words.append("    *,")
        default = "" if each.default is each.empty else f" = {each.default!r}"
        words.append(f"    {each.name}: {each.annotation}{default},")
    return "\n".join([f"```text\n{name}(", *words, f") -> {found.return_annotation}\n```\n"])


HEADS = {"Args": "parameter", "Raises": "raised"}


def document(name: str) -> str:
    """Return a docstring as Markdown. The attributes of a class are left to the table of its members."""
    found = parse_docstring(getattr(transcoder, name))
    if not found.text:
        raise SystemExit(f"transcoder.{name} has no docstring")
    parts = [found.text + "\n"]
    for title, entries in found.sections.items():
        if title in HEADS:
            rows = [[f"`{entry}`", text] for entry, text in entries.items()]
            parts.append(table([HEADS[title], "when" if title == "Raises" else "what it is"], rows))
        elif title != "Attributes":
            parts.append(f"{title}: {entries['']}\n")
    return "\n".join(parts)


def members(kind: type) -> str:
    """Return a table of the public fields, properties and methods, with what the docstrings say."""
    fields = dataclasses.fields(kind) if dataclasses.is_dataclass(kind) else ()
    attributes = parse_docstring(kind).sections.get("Attributes", {})
    rows = [
        [f"`{field.name}: {field.type}`", attributes.get(field.name, "")]
        for field in fields
        if not field.name.startswith("_")
    ]
    for name, value in sorted(vars(kind).items()):
        if name.startswith("_"):
            continue
        if isinstance(value, property):
            rows.append([f"`{name}`", parse_docstring(value).text])
        elif inspect.isfunction(value):
            found = str(inspect.signature(value)).replace("(self, ", "(").replace("(self)", "()").replace("'", "")
            rows.append([f"`{name}{found}`", parse_docstring(value).text.split("\n\n", 1)[0]])
    return table(["member", "what it is"], rows) if rows else ""


# The YAML language


def parser_keys() -> dict[str, tuple[str, ...]]:
    """Return the keys that the parser accepts, by the name that it gives to the table of these keys."""
    found: dict[str, tuple[str, ...]] = {}
    for node in ast.walk(ast.parse(inspect.getsource(parse))):
        match node:
            case ast.Call(func=ast.Attribute(attr="table"), args=[_, ast.Constant(value=str(what)), known]):
                match known:
                    case ast.Name(id=name):
                        found[what] = tuple(getattr(parse, name))
                    case _:
                        found[what] = tuple(ast.literal_eval(known))
    return found


def yaml_language() -> str:
    known = parser_keys()
    if {what: set(keys) for what, keys in known.items()} != {what: set(keys) for what, keys in KEYS.items()}:
        raise SystemExit("tools/docs/yaml_keys.py describes other keys than the parser accepts")
    if set(FUNCTIONS) != set(expressions._FUNCTIONS):
        raise SystemExit("tools/docs/yaml_keys.py describes other functions than expressions have")
    parts = [MADE + INTRODUCTION]
    for what, keys in KEYS.items():
        parts += [
            f"## {what[0].upper()}{what[1:]}\n",
            table(["key", "what it says"], [[f"`{k}`", v] for k, v in keys.items()]),
        ]
    parts += [
        "## Functions in expressions\n",
        table(["function", "what it gives"], [[f"`{k}`", v] for k, v in FUNCTIONS.items()]),
    ]
    return "\n".join(parts)


# The report


def report() -> str:
    schema = json.loads((OUT / SCHEMA).read_text(encoding="utf-8"))
    parts = [
        MADE + "# The validation report\n",
        schema["description"] + "\n",
        f"As JSON Schema: [{SCHEMA}]({SCHEMA}).\n",
    ]
    for title, part in {"The report": schema, **schema["$defs"]}.items():
        rows = [[f"`{name}`", kind(value), value["description"]] for name, value in part["properties"].items()]
        name = title if part is schema else f"`{title}`"
        description = (part["description"] + "\n") if part is not schema else ""
        parts += [f"## {name}\n", description, table(["key", "type", "what it is"], rows)]
    return "\n".join(part for part in parts if part)


def kind(value: dict[str, Any]) -> str:
    """Return the type of a value as the schema describes it."""
    if "$ref" in value:
        return f"`{value['$ref'].rpartition('/')[2]}`"
    if "enum" in value:
        return " or ".join(json.dumps(each) for each in value["enum"])
    if "anyOf" in value:
        return " or ".join(kind(each) for each in value["anyOf"])
    types = value["type"] if isinstance(value["type"], list) else [value["type"]]
    named = [f"list of {kind(value['items'])}" if each == "array" and "items" in value else each for each in types]
    return " or ".join(named)


PAGES = {"cli.md": command_line, "python.md": python, "yaml.md": yaml_language, "report.md": report}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    for name, make in PAGES.items():
        (OUT / name).write_text(make(), encoding="utf-8")


if __name__ == "__main__":
    main()
