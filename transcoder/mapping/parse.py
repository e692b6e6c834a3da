"""A YAML tree -> the mapping language. Collects every problem of a file, each with its line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from transcoder.errors import MappingError, Problem
from transcoder.mapping.expressions import ExpressionError, Value, names_in
from transcoder.mapping.language import Architecture, Condition, Drop, Loop, PartUse, Rule, Step
from transcoder.mapping.yamlfile import Item
from transcoder.tensors import BY_NAME

TOP = ("model_type", "about", "extends", "let", "config", "parts", "architectures", "drop")
OPS = ("transpose", "reshape", "squeeze", "slice", "concat", "cast")
RULE = ("from", "copy", "to", "shape", "for", "when", "ops", *OPS)
PART = ("about", "at", "for", "when", "tensors")


@dataclass
class File:
    """What one file says by itself; library.py merges it with what it extends."""

    model_type: str | None = None
    about: str = ""
    extends: Item | None = None
    let: dict[str, Value] = field(default_factory=dict)
    config: dict[str, Value] = field(default_factory=dict)
    parts: dict[str, tuple[Rule, ...]] = field(default_factory=dict)
    architectures: dict[str, Architecture] = field(default_factory=dict)
    drops: tuple[Drop, ...] = ()


def parse(root: Item) -> File:
    """Read one file's tree.

    Raises MappingError with all problems of the file.
    """
    reader = _Reader()
    file = reader.file(root)
    if reader.problems:
        raise MappingError("a mapping is wrong", reader.problems)
    return file


class _Reader:
    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def wrong(self, item: Item, found: str, wanted: str, remedy: str = "mend the line") -> None:
        self.problems.append(Problem(item.where, found, wanted, remedy))

    # Each of the following reports a problem and gives a harmless value, so that reading goes on.

    def text(self, item: Item, what: str) -> str:
        if isinstance(item.value, str) and item.value:
            return item.value
        self.wrong(item, item.kind, f"{what}: text")
        return "?"

    def scalar(self, item: Item, what: str) -> Value:
        if isinstance(item.value, (list, dict)):
            self.wrong(item, item.kind, f"{what}: a single value")
            return None
        return item.value

    def listed(self, item: Item, what: str) -> list[Item]:
        if isinstance(item.value, list):
            return item.value
        self.wrong(item, item.kind, f"{what}: a list")
        return []

    def table(self, item: Item, what: str, known: tuple[str, ...] | None = None) -> dict[str, Item]:
        if not isinstance(item.value, dict):
            self.wrong(item, item.kind, f"{what}: a mapping")
            return {}
        for key, value in item.value.items():
            if known is not None and key not in known:
                self.wrong(value, f"the key {key!r}", f"{what} has: {', '.join(known)}", "remove or rename the key")
        return item.value

    def template(self, item: Item, what: str) -> str:
        text = self.text(item, what)
        try:
            names_in(text, template=True)
        except ExpressionError as error:
            self.wrong(item, str(error), f"{what}: text with {{names}}")
        return text

    def expression(self, item: Item, what: str) -> str | int:
        value = item.value
        if isinstance(value, bool) or not isinstance(value, (int, str)):
            self.wrong(item, item.kind, f"{what}: a whole number, a config key or a product of them")
            return 0
        try:
            names_in(value, template=False)
        except ExpressionError as error:
            self.wrong(item, str(error), f"{what}: a whole number, a config key or a product of them")
            return 0
        return value

    def whole(self, item: Item, what: str) -> int:
        if isinstance(item.value, bool) or not isinstance(item.value, int) or item.value < 0:
            self.wrong(item, item.kind, f"{what}: a whole number")
            return 0
        return item.value

    def file(self, root: Item) -> File:
        top = self.table(root, "a mapping file", TOP)
        file = File()
        for key, item in top.items():
            match key:
                case "model_type":
                    file.model_type = self.text(item, key)
                case "about":
                    file.about = self.text(item, key)
                case "extends":
                    self.text(item, key)
                    file.extends = item
                case "let":
                    file.let = self.constants(item)
                case "config":
                    file.config = {name: self.scalar(value, name) for name, value in self.table(item, key).items()}
                case "parts":
                    file.parts = {name: self.part(value) for name, value in self.table(item, key).items()}
                case "architectures":
                    file.architectures = {name: self.architecture(v) for name, v in self.table(item, key).items()}
                case "drop":
                    file.drops = self.drops(item)
        return file

    def constants(self, item: Item) -> dict[str, Value]:
        constants: dict[str, Value] = {}
        for name, value in self.table(item, "let").items():
            if not name.isidentifier():
                self.wrong(value, f"the name {name!r}", "a name of letters, digits and _")
            if isinstance(value.value, bool) or not isinstance(value.value, (str, int)):
                self.wrong(value, value.kind, "text or a whole number")
                continue
            constants[name] = value.value
        return constants

    def drops(self, item: Item) -> tuple[Drop, ...]:
        drops = []
        for entry in self.listed(item, "drop"):
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

    def architecture(self, item: Item) -> Architecture:
        table = self.table(item, "an architecture", ("parts", "let", "drop"))
        uses = []
        if "parts" not in table:
            self.wrong(item, "no parts", "the list of its parts")
        else:
            for part in self.listed(table["parts"], "parts"):
                name = self.text(part, "a part's name")
                uses.append(PartUse(name.removesuffix("?"), name.endswith("?")))
        let = self.constants(table["let"]) if "let" in table else {}
        drops = self.drops(table["drop"]) if "drop" in table else ()
        return Architecture(tuple(uses), let, drops, item.where)

    def part(self, item: Item) -> tuple[Rule, ...]:
        if isinstance(item.value, list):
            item = Item({"tensors": item}, item.where)
        table = self.table(item, "a part", PART)
        at_from = at_to = ""
        if "at" in table:
            at = self.table(table["at"], "at", ("from", "to"))
            at_from = self.template(at["from"], "from") + "/" if "from" in at else ""
            at_to = self.template(at["to"], "to") + "." if "to" in at else ""
        loops = self.loops(table["for"]) if "for" in table else ()
        when = self.condition(table["when"]) if "when" in table else ()
        if "tensors" not in table:
            self.wrong(item, "no tensors", "the list of the part's tensors")
            return ()
        return tuple(
            rule
            for entry in self.listed(table["tensors"], "tensors")
            if (rule := self.rule(entry, at_from, at_to, loops, when)) is not None
        )

    def rule(
        self, item: Item, at_from: str, at_to: str, loops: tuple[tuple[str, Loop], ...], when: Condition
    ) -> Rule | None:
        table = self.table(item, "a rule", RULE)
        if "to" not in table or ("from" in table) == ("copy" in table):
            self.wrong(item, f"the keys {', '.join(table) or 'none'}", "`to`, and either `from` or `copy`")
            return None
        steps = self.steps(item, table)
        sources: tuple[str, ...] = ()
        copy = None
        if "copy" in table:
            copy = self.template(table["copy"], "copy")
            if steps or "shape" in table:
                found = "a copy with operations" if steps else "a copy with a shape"
                self.wrong(item, found, "a copy is the same tensor under a second name")
        else:
            origin = table["from"]
            entries = origin.value if isinstance(origin.value, list) else [origin]
            sources = tuple(at_from + self.template(entry, "from") for entry in entries)
            concats = sum(step.kind == "concat" for step in steps)
            if concats != (1 if isinstance(origin.value, list) else 0):
                self.wrong(item, f"{len(sources)} source(s) and {concats} concat", "a list in `from` with one concat")
        if "shape" not in table and copy is None:
            self.wrong(item, "no shape", "the shape of the target, in PyTorch's order, from config keys")
        shape = self.shape(table["shape"]) if "shape" in table else ()
        own = self.loops(table["for"]) if "for" in table else ()
        if twice := {name for name, _ in loops} & {name for name, _ in own}:
            self.wrong(item, f"the loop {', '.join(twice)} a second time", "each loop once")
        own_when = self.condition(table["when"]) if "when" in table else ()
        target = at_to + self.template(table["to"], "to")
        return Rule(sources, copy, target, steps, shape, loops + own, when + own_when, item.where)

    def shape(self, item: Item) -> tuple[str | int, ...]:
        return tuple(self.expression(entry, "an extent") for entry in self.listed(item, "shape"))

    def steps(self, rule: Item, table: dict[str, Item]) -> tuple[Step, ...]:
        inline = [(key, table[key]) for key in OPS if key in table]
        if len(inline) + ("ops" in table) > 1:
            self.wrong(
                rule,
                f"several operations: {', '.join(key for key, _ in inline)}",
                "one, or `ops` with a list of them in order",
                "write ops: [{...}, {...}]",
            )
        if "ops" in table:
            inline = []
            for entry in self.listed(table["ops"], "ops"):
                single = self.table(entry, "an operation", OPS)
                if len(single) != 1:
                    self.wrong(entry, f"{len(single)} operations", "one operation in each item of ops")
                inline += list(single.items())
        readers: dict[str, Callable[[Item], tuple[str | int, ...]]] = {
            "transpose": lambda item: tuple(self.whole(axis, "an axis") for axis in self.listed(item, "transpose")),
            "squeeze": lambda item: tuple(self.whole(axis, "an axis") for axis in self.listed(item, "squeeze")),
            "reshape": self.shape,
            "slice": self.slice,
            "concat": lambda item: (self.whole(item, "the axis of concat"),),
            "cast": self.cast,
        }
        return tuple(Step(key, readers[key](item)) for key, item in inline if key in readers)

    def slice(self, item: Item) -> tuple[str | int, ...]:
        table = self.table(item, "slice", ("axis", "start", "stop"))
        if len(table) != 3:
            self.wrong(item, f"the keys {', '.join(table)}", "axis, start and stop")
            return (0, 0, 0)
        return (
            self.whole(table["axis"], "axis"),
            self.expression(table["start"], "start"),
            self.expression(table["stop"], "stop"),
        )

    def cast(self, item: Item) -> tuple[str | int, ...]:
        name = self.text(item, "cast")
        if name not in BY_NAME:
            self.wrong(item, repr(name), f"one of {', '.join(BY_NAME)}")
            return ("float32",)
        return (name,)

    def loops(self, item: Item) -> tuple[tuple[str, Loop], ...]:
        return tuple((name, self.loop(value)) for name, value in self.table(item, "for").items())

    def loop(self, item: Item) -> Loop:
        match item.value:
            case list() as entries:
                names = [self.text(entry, "a name") for entry in entries]
                return tuple((name, name) for name in names)
            case dict() as renames:
                return tuple((name, self.text(value, "a name")) for name, value in renames.items())
            case _:
                return self.expression(item, "a count")

    def condition(self, item: Item) -> Condition:
        return tuple(
            (
                key,
                tuple(self.scalar(v, key) for v in value.value)
                if isinstance(value.value, list)
                else (self.scalar(value, key),),
            )
            for key, value in self.table(item, "when").items()
        )
