"""A YAML tree -> the mapping language. Collects every problem of a file, each with its line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from transcoder.errors import MappingError, Problem
from transcoder.mapping.expressions import ExpressionError, Value, check
from transcoder.mapping.language import Architecture, Condition, Drop, Inner, Loop, PartUse, Preference, Rule, Step
from transcoder.mapping.yamlfile import Item
from transcoder.tensors import BY_NAME

TOP = ("model_type", "about", "extends", "let", "config", "derive", "parts", "architectures", "prefer", "drop")
OPS = ("transpose", "reshape", "squeeze", "slice", "concat", "cast", "zero_rows")
RULE = ("from", "copy", "fill", "to", "shape", "for", "when", "ops", *OPS)
PART = ("about", "at", "for", "when", "tensors")
INNER = ("config", "mapping", "architecture", "at", "let")


@dataclass
class File:
    """What one file says by itself; library.py merges it with what it extends."""

    model_type: str | None = None
    about: str = ""
    extends: Item | None = None
    let: dict[str, Value] = field(default_factory=dict)
    config: dict[str, Value] = field(default_factory=dict)
    derive: dict[str, str] = field(default_factory=dict)
    parts: dict[str, tuple[Rule, ...]] = field(default_factory=dict)
    architectures: dict[str, Architecture | None] = field(default_factory=dict)  # None takes a base's away
    drops: tuple[Drop, ...] = ()
    preferences: tuple[Preference, ...] = ()


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

    def value(self, item: Item) -> Value:
        match item.value:
            case list() as entries:
                return [self.value(entry) for entry in entries]
            case dict() as table:
                return {name: self.value(entry) for name, entry in table.items()}
            case scalar:
                return scalar

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
            check(text, template=True)
        except ExpressionError as error:
            self.wrong(item, str(error), f"{what}: text with {{names}}")
        return text

    def expression(self, item: Item, what: str) -> str | int:
        value = item.value
        if isinstance(value, bool) or not isinstance(value, (int, str)):
            self.wrong(item, item.kind, f"{what}: a whole number, a config key or a product of them")
            return 0
        try:
            check(value, template=False)
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
                    file.config = {name: self.value(value) for name, value in self.table(item, key).items()}
                case "derive":
                    file.derive = {n: str(self.expression(v, n)) for n, v in self.table(item, key).items()}
                case "parts":
                    file.parts = {name: self.part(value) for name, value in self.table(item, key).items()}
                case "architectures":
                    file.architectures = {
                        name: None if entry.value is None else self.architecture(entry)
                        for name, entry in self.table(item, key).items()
                    }
                case "drop":
                    file.drops = self.drops(item)
                case "prefer":
                    file.preferences = self.preferences(item)
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

    def preferences(self, item: Item) -> tuple[Preference, ...]:
        preferences = []
        for entry in self.listed(item, "prefer"):
            table = self.table(entry, "a preference", ("suffix", "why"))
            if missing := {"suffix", "why"} - table.keys():
                self.wrong(entry, f"no {' and no '.join(sorted(missing))}", "suffix and why")
                continue
            why = self.text(table["why"], "why")
            preferences.append(Preference(self.text(table["suffix"], "suffix"), why, entry.where))
        return tuple(preferences)

    def architecture(self, item: Item) -> Architecture:
        table = self.table(item, "an architecture", ("parts", "models", "let", "drop"))
        uses = []
        if "parts" not in table:
            self.wrong(item, "no parts", "the list of its parts")
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
        return Architecture(tuple(uses), models, let, drops, item.where)

    def inner(self, item: Item) -> Inner:
        table = self.table(item, "a model inside", INNER)
        if not table.keys() & {"config", "mapping"}:
            self.wrong(item, "neither config nor mapping", "where its configuration lies, or which mapping it has")
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
            where=item.where,
        )

    def at(self, owner: dict[str, Item], side: str, separator: str) -> str:
        """What `at` puts before the names of one side."""
        table = self.table(owner["at"], "at", ("from", "to")) if "at" in owner else {}
        return self.template(table[side], side) + separator if side in table else ""

    def part(self, item: Item) -> tuple[Rule, ...]:
        if isinstance(item.value, list):
            item = Item({"tensors": item}, item.where)
        table = self.table(item, "a part", PART)
        at_from, at_to = self.at(table, "from", "/"), self.at(table, "to", ".")
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
        if "to" not in table or len(table.keys() & {"from", "copy", "fill"}) != 1:
            self.wrong(item, f"the keys {', '.join(table) or 'none'}", "`to`, and one of `from`, `copy` and `fill`")
            return None
        steps = self.filling(item, table) if "fill" in table else self.steps(item, table)
        sources: tuple[str, ...] = ()
        copy = None
        if "copy" in table:
            copy = self.template(table["copy"], "copy")
            if steps or "shape" in table:
                found = "a copy with operations" if steps else "a copy with a shape"
                self.wrong(item, found, "a copy is the same tensor under a second name")
        elif "from" in table:
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

    def filling(self, rule: Item, table: dict[str, Item]) -> tuple[Step, ...]:
        if extra := table.keys() & {"ops", *OPS} - {"cast"}:
            self.wrong(rule, f"a fill with {', '.join(sorted(extra))}", "a whole number and its dtype: fill and cast")
        dtype = self.cast(table["cast"]) if "cast" in table else ("float32",)
        if dtype == ("bfloat16",):
            self.wrong(rule, "a fill of bfloat16", "a dtype that NumPy has")
        return (Step("fill", (self.whole(table["fill"], "fill"), *dtype)),)

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
            "zero_rows": self.zero_rows,
            "concat": lambda item: (self.whole(item, "the axis of concat"),),
            "cast": self.cast,
        }
        return tuple(Step(key, readers[key](item), self.rest(key, item)) for key, item in inline if key in readers)

    def rest(self, key: str, item: Item) -> str:
        """Why a slice drops what is behind its stop; nothing where it does not."""
        table = item.value if key == "slice" and isinstance(item.value, dict) else {}
        return self.text(table["rest"], "rest: why it is dropped") if "rest" in table else ""

    def slice(self, item: Item) -> tuple[str | int, ...]:
        table = self.table(item, "slice", ("axis", "start", "stop", "rest"))
        if missing := {"axis", "start", "stop"} - table.keys():
            self.wrong(item, f"no {' and no '.join(sorted(missing))}", "axis, start and stop")
            return (0, 0, 0)
        return (
            self.whole(table["axis"], "axis"),
            self.expression(table["start"], "start"),
            self.expression(table["stop"], "stop"),
        )

    def zero_rows(self, item: Item) -> tuple[str | int, ...]:
        table = self.table(item, "zero_rows", ("start", "stop"))
        if missing := {"start", "stop"} - table.keys():
            self.wrong(item, f"no {' and no '.join(sorted(missing))}", "start and stop")
            return (0, 1)
        return self.expression(table["start"], "start"), self.expression(table["stop"], "stop")

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
                names = [self.name(entry) for entry in entries]
                return tuple((name, name) for name in names)
            case dict() as renames:
                return tuple((name, self.name(value)) for name, value in renames.items())
            case _:
                return self.expression(item, "a count")

    def name(self, item: Item) -> str | int:
        if isinstance(item.value, int) and not isinstance(item.value, bool):
            return item.value
        return self.text(item, "a name or a whole number")

    def condition(self, item: Item) -> Condition:
        """An expression, or a table from names to the value, or the list of values, that they must have."""
        if not isinstance(item.value, dict):
            return (str(self.expression(item, "a condition")),)
        asked = []
        for key, entry in item.value.items():
            values = self.value(entry)
            if isinstance(values, dict):
                self.wrong(entry, "a mapping", "when: a value or a list of them")
            asked.append(f"{key} in {values!r}" if isinstance(values, list) else f"{key} == {values!r}")
            self.expression(replace(item, value=asked[-1]), "a condition")
        return tuple(asked)
