"""Parses a YAML tree into the mapping language, and collects every problem of a file with its line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from transcoder.errors import MappingError, Problem
from transcoder.mapping.expressions import ExpressionError, Value, check
from transcoder.mapping.language import (
    Architecture,
    Condition,
    Drop,
    Inner,
    Loop,
    OpTemplate,
    PartUse,
    Preference,
    TensorRule,
)
from transcoder.mapping.yamlfile import Node
from transcoder.tensors import BY_NAME

TOP_KEYS = ("model_type", "about", "extends", "let", "config", "derive", "parts", "architectures", "prefer", "drop")
OP_KEYS = ("transpose", "reshape", "squeeze", "slice", "concat", "cast", "zero_rows")
RULE_KEYS = ("from", "copy", "fill", "to", "shape", "for", "when", "ops", *OP_KEYS)
PART_KEYS = ("about", "at", "for", "when", "tensors")
INNER_KEYS = ("config", "mapping", "architecture", "at", "let")


@dataclass
class MappingFile:
    """The content of one file, which library.py merges with what it extends. A null architecture removes a base's."""

    model_type: str | None = None
    about: str = ""
    extends: Node | None = None
    let: dict[str, Value] = field(default_factory=dict)
    config: dict[str, Value] = field(default_factory=dict)
    derive: dict[str, str] = field(default_factory=dict)
    parts: dict[str, tuple[TensorRule, ...]] = field(default_factory=dict)
    architectures: dict[str, Architecture | None] = field(default_factory=dict)
    drops: tuple[Drop, ...] = ()
    preferences: tuple[Preference, ...] = ()


def parse(root: Node) -> MappingFile:
    """Parse the tree of one file.

    Raises MappingError with all problems of the file.
    """
    reader = _Reader()
    file = reader.file(root)
    if reader.problems:
        raise MappingError("a mapping has errors", reader.problems)
    return file


class _Reader:
    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def wrong(self, node: Node, found: str, wanted: str, remedy: str = "fix the line") -> None:
        self.problems.append(Problem(node.where, found, wanted, remedy))

    # Each method below reports a problem and returns a harmless value, so that parsing goes on.

    def text(self, node: Node, what: str) -> str:
        if isinstance(node.value, str) and node.value:
            return node.value
        self.wrong(node, node.kind, f"{what}: text")
        return "?"

    def value(self, node: Node) -> Value:
        match node.value:
            case list() as entries:
                return [self.value(entry) for entry in entries]
            case dict() as table:
                return {name: self.value(entry) for name, entry in table.items()}
            case scalar:
                return scalar

    def listed(self, node: Node, what: str) -> list[Node]:
        if isinstance(node.value, list):
            return node.value
        self.wrong(node, node.kind, f"{what}: a list")
        return []

    def table(self, node: Node, what: str, known: tuple[str, ...] | None = None) -> dict[str, Node]:
        if not isinstance(node.value, dict):
            self.wrong(node, node.kind, f"{what}: a mapping")
            return {}
        for key, value in node.value.items():
            if known is not None and key not in known:
                self.wrong(value, f"the key {key!r}", f"{what} has: {', '.join(known)}", "remove or rename the key")
        return node.value

    def template(self, node: Node, what: str) -> str:
        text = self.text(node, what)
        try:
            check(text, template=True)
        except ExpressionError as error:
            self.wrong(node, str(error), f"{what}: text with {{names}}")
        return text

    def expression(self, node: Node, what: str) -> str | int:
        value = node.value
        if isinstance(value, bool) or not isinstance(value, (int, str)):
            self.wrong(node, node.kind, f"{what}: a whole number, a config key or a product of them")
            return 0
        try:
            check(value, template=False)
        except ExpressionError as error:
            self.wrong(node, str(error), f"{what}: a whole number, a config key or a product of them")
            return 0
        return value

    def whole(self, node: Node, what: str) -> int:
        if isinstance(node.value, bool) or not isinstance(node.value, int) or node.value < 0:
            self.wrong(node, node.kind, f"{what}: a whole number")
            return 0
        return node.value

    def file(self, root: Node) -> MappingFile:
        top = self.table(root, "a mapping file", TOP_KEYS)
        file = MappingFile()
        for key, node in top.items():
            match key:
                case "model_type":
                    file.model_type = self.text(node, key)
                case "about":
                    file.about = self.text(node, key)
                case "extends":
                    self.text(node, key)
                    file.extends = node
                case "let":
                    file.let = self.constants(node)
                case "config":
                    file.config = {name: self.value(value) for name, value in self.table(node, key).items()}
                case "derive":
                    file.derive = {n: str(self.expression(v, n)) for n, v in self.table(node, key).items()}
                case "parts":
                    file.parts = {name: self.part(value) for name, value in self.table(node, key).items()}
                case "architectures":
                    file.architectures = {
                        name: None if entry.value is None else self.architecture(entry)
                        for name, entry in self.table(node, key).items()
                    }
                case "drop":
                    file.drops = self.drops(node)
                case "prefer":
                    file.preferences = self.preferences(node)
        return file

    def constants(self, node: Node) -> dict[str, Value]:
        constants: dict[str, Value] = {}
        for name, value in self.table(node, "let").items():
            if not name.isidentifier():
                self.wrong(value, f"the name {name!r}", "a name of letters, digits and _")
            if isinstance(value.value, bool) or not isinstance(value.value, (str, int)):
                self.wrong(value, value.kind, "text or a whole number")
                continue
            constants[name] = value.value
        return constants

    def drops(self, node: Node) -> tuple[Drop, ...]:
        drops = []
        for entry in self.listed(node, "drop"):
            table = self.table(entry, "a drop", ("from", "why"))
            if missing := {"from", "why"} - table.keys():
                self.wrong(
                    entry,
                    f"no {' and no '.join(sorted(missing))}",
                    "from and why: nothing is dropped silently",
                )
                continue
            drops.append(Drop(self.template(table["from"], "from"), self.text(table["why"], "why"), entry.where))
        return tuple(drops)

    def preferences(self, node: Node) -> tuple[Preference, ...]:
        preferences = []
        for entry in self.listed(node, "prefer"):
            table = self.table(entry, "a preference", ("suffix", "why"))
            if missing := {"suffix", "why"} - table.keys():
                self.wrong(entry, f"no {' and no '.join(sorted(missing))}", "suffix and why")
                continue
            why = self.text(table["why"], "why")
            preferences.append(Preference(self.text(table["suffix"], "suffix"), why, entry.where))
        return tuple(preferences)

    def architecture(self, node: Node) -> Architecture:
        table = self.table(node, "an architecture", ("parts", "models", "let", "drop"))
        uses = []
        if "parts" not in table:
            self.wrong(node, "no parts", "the list of its parts")
        else:
            for part in self.listed(table["parts"], "parts"):
                text = self.text(part, "a part's name")
                names = tuple(name.strip() for name in text.removesuffix("?").split("|"))
                uses.append(PartUse(names, text.endswith("?")))
        models = (
            tuple(self.inner(entry) for entry in self.listed(table["models"], "models")) if "models" in table else ()
        )
        let = self.constants(table["let"]) if "let" in table else {}
        drops = self.drops(table["drop"]) if "drop" in table else ()
        return Architecture(tuple(uses), models, let, drops, node.where)

    def inner(self, node: Node) -> Inner:
        table = self.table(node, "a model inside", INNER_KEYS)
        if not table.keys() & {"config", "mapping"}:
            self.wrong(
                node, "neither config nor mapping", "`config` for its configuration, or `mapping` for its mapping"
            )
        patterns: tuple[str, ...] = ()
        if "architecture" in table:
            named = table["architecture"]
            entries = named.value if isinstance(named.value, list) else [named]
            patterns = tuple(self.text(entry, "a PyTorch class") for entry in entries)
        return Inner(
            config=str(self.expression(table["config"], "config")) if "config" in table else None,
            mapping=self.text(table["mapping"], "mapping") if "mapping" in table else None,
            patterns=patterns,
            at_from=self.at(table, "from", "/"),
            at_to=self.at(table, "to", "."),
            let=self.constants(table["let"]) if "let" in table else {},
            where=node.where,
        )

    def at(self, owner: dict[str, Node], side: str, separator: str) -> str:
        """Return the prefix that `at` gives to the names of one side."""
        table = self.table(owner["at"], "at", ("from", "to")) if "at" in owner else {}
        return self.template(table[side], side) + separator if side in table else ""

    def part(self, node: Node) -> tuple[TensorRule, ...]:
        if isinstance(node.value, list):
            node = Node({"tensors": node}, node.where)
        table = self.table(node, "a part", PART_KEYS)
        at_from, at_to = self.at(table, "from", "/"), self.at(table, "to", ".")
        loops = self.loops(table["for"]) if "for" in table else ()
        when = self.condition(table["when"]) if "when" in table else ()
        if "tensors" not in table:
            self.wrong(node, "no tensors", "the list of the part's tensors")
            return ()
        return tuple(
            rule
            for entry in self.listed(table["tensors"], "tensors")
            if (rule := self.rule(entry, at_from, at_to, loops, when)) is not None
        )

    def rule(
        self, node: Node, at_from: str, at_to: str, loops: tuple[tuple[str, Loop], ...], when: Condition
    ) -> TensorRule | None:
        table = self.table(node, "a rule", RULE_KEYS)
        if "to" not in table or len(table.keys() & {"from", "copy", "fill"}) != 1:
            self.wrong(node, f"the keys {', '.join(table) or 'none'}", "`to`, and one of `from`, `copy` and `fill`")
            return None
        ops = self.filling(node, table) if "fill" in table else self.ops(node, table)
        sources: tuple[str, ...] = ()
        copy = None
        if "copy" in table:
            copy = self.template(table["copy"], "copy")
            if ops or "shape" in table:
                found = "a copy with operations" if ops else "a copy with a shape"
                self.wrong(node, found, "a copy: the same tensor under a second name")
        elif "from" in table:
            origin = table["from"]
            entries = origin.value if isinstance(origin.value, list) else [origin]
            sources = tuple(at_from + self.template(entry, "from") for entry in entries)
            concats = sum(op.kind == "concat" for op in ops)
            if concats != (1 if isinstance(origin.value, list) else 0):
                self.wrong(node, f"{len(sources)} source(s) and {concats} concat", "a list in `from` with one concat")
        if "shape" not in table and copy is None:
            self.wrong(node, "no shape", "the shape of the target, in PyTorch's order, from config keys")
        shape = self.shape(table["shape"]) if "shape" in table else ()
        inner_loops = self.loops(table["for"]) if "for" in table else ()
        if twice := {name for name, _ in loops} & {name for name, _ in inner_loops}:
            self.wrong(node, f"the loop {', '.join(twice)} a second time", "each loop once")
        inner_when = self.condition(table["when"]) if "when" in table else ()
        target = at_to + self.template(table["to"], "to")
        return TensorRule(sources, copy, target, ops, shape, loops + inner_loops, when + inner_when, node.where)

    def filling(self, rule: Node, table: dict[str, Node]) -> tuple[OpTemplate, ...]:
        if extra := table.keys() & {"ops", *OP_KEYS} - {"cast"}:
            self.wrong(rule, f"a fill with {', '.join(sorted(extra))}", "a whole number and its dtype: fill and cast")
        dtype = self.cast(table["cast"]) if "cast" in table else ("float32",)
        if dtype == ("bfloat16",):
            self.wrong(rule, "a fill of bfloat16", "a dtype that NumPy has")
        return (OpTemplate("fill", (self.whole(table["fill"], "fill"), *dtype)),)

    def shape(self, node: Node) -> tuple[str | int, ...]:
        return tuple(self.expression(entry, "a dimension") for entry in self.listed(node, "shape"))

    def ops(self, rule: Node, table: dict[str, Node]) -> tuple[OpTemplate, ...]:
        inline = [(key, table[key]) for key in OP_KEYS if key in table]
        if len(inline) + ("ops" in table) > 1:
            self.wrong(
                rule,
                f"several operations: {', '.join(key for key, _ in inline)}",
                "one operation, or `ops` with a list of them in order",
                "write ops: [{...}, {...}]",
            )
        if "ops" in table:
            inline = []
            for entry in self.listed(table["ops"], "ops"):
                single = self.table(entry, "an operation", OP_KEYS)
                if len(single) != 1:
                    self.wrong(entry, f"{len(single)} operations", "one operation in each item of ops")
                inline += list(single.items())
        readers: dict[str, Callable[[Node], tuple[str | int, ...]]] = {
            "transpose": lambda node: tuple(self.whole(axis, "an axis") for axis in self.listed(node, "transpose")),
            "squeeze": lambda node: tuple(self.whole(axis, "an axis") for axis in self.listed(node, "squeeze")),
            "reshape": self.shape,
            "slice": self.slice,
            "zero_rows": self.zero_rows,
            "concat": lambda node: (self.whole(node, "the axis of concat"),),
            "cast": self.cast,
        }
        return tuple(
            OpTemplate(key, readers[key](node), self.rest(key, node)) for key, node in inline if key in readers
        )

    def rest(self, key: str, node: Node) -> str:
        """Return why a slice drops what follows its stop, or "" if it does not."""
        table = node.value if key == "slice" and isinstance(node.value, dict) else {}
        return self.text(table["rest"], "rest: why it is dropped") if "rest" in table else ""

    def slice(self, node: Node) -> tuple[str | int, ...]:
        table = self.table(node, "slice", ("axis", "start", "stop", "rest"))
        if missing := {"axis", "start", "stop"} - table.keys():
            self.wrong(node, f"no {' and no '.join(sorted(missing))}", "axis, start and stop")
            return (0, 0, 0)
        return (
            self.whole(table["axis"], "axis"),
            self.expression(table["start"], "start"),
            self.expression(table["stop"], "stop"),
        )

    def zero_rows(self, node: Node) -> tuple[str | int, ...]:
        table = self.table(node, "zero_rows", ("start", "stop"))
        if missing := {"start", "stop"} - table.keys():
            self.wrong(node, f"no {' and no '.join(sorted(missing))}", "start and stop")
            return (0, 1)
        return self.expression(table["start"], "start"), self.expression(table["stop"], "stop")

    def cast(self, node: Node) -> tuple[str | int, ...]:
        name = self.text(node, "cast")
        if name not in BY_NAME:
            self.wrong(node, repr(name), f"one of {', '.join(BY_NAME)}")
            return ("float32",)
        return (name,)

    def loops(self, node: Node) -> tuple[tuple[str, Loop], ...]:
        return tuple((name, self.loop(value)) for name, value in self.table(node, "for").items())

    def loop(self, node: Node) -> Loop:
        match node.value:
            case list() as entries:
                names = [self.name(entry) for entry in entries]
                return tuple((name, name) for name in names)
            case dict() as renames:
                return tuple((name, self.name(value)) for name, value in renames.items())
            case _:
                return self.expression(node, "a count")

    def name(self, node: Node) -> str | int:
        if isinstance(node.value, int) and not isinstance(node.value, bool):
            return node.value
        return self.text(node, "a name or a whole number")

    def condition(self, node: Node) -> Condition:
        """Parse a condition: an expression, or a table from each name to its value or the list of its values."""
        if not isinstance(node.value, dict):
            return (str(self.expression(node, "a condition")),)
        asked = []
        for key, entry in node.value.items():
            values = self.value(entry)
            if isinstance(values, dict):
                self.wrong(entry, "a mapping", "when: a value or a list of them")
            asked.append(f"{key} in {values!r}" if isinstance(values, list) else f"{key} == {values!r}")
            self.expression(replace(node, value=asked[-1]), "a condition")
        return tuple(asked)
