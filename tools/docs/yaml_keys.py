"""What each key of the YAML language says; tools/docs/reference.py holds it against the parser."""

INTRODUCTION = """# The YAML language of mappings

Every key that a mapping may have; any other is an error with its line. [Mappings](../mappings.md) explains them by
examples. *Template*: text in which `{name}` stands for a constant, a loop variable or a value of config.json.
*Expression*: names, whole numbers, text in quotes, lists, arithmetic, comparisons, `in`, `and`, `or`, `not`,
`a if condition else b`, and the functions below; nothing in it runs.
"""

AT_FROM = "template that stands before every `from`, with `/` between"
AT_TO = "template that stands before every `to`, with `.` between"
FOR = """loops, by the name of their variable: an expression (counts from 0), a list of names or numbers, or a table
from the name in `from` to the name in `to`"""
WHEN = "an expression that must hold, or a table from names to the value, or the list of values, that they must have"
WHY = "the reason, which the receipt and the report give"
TRANSPOSE = "axis j of the result is axis `perm[j]`, as in `numpy.transpose`: a list of whole numbers"
OPERATIONS = {
    "transpose": TRANSPOSE,
    "reshape": "the same elements under another shape: a list of expressions; `-1` is what the others leave",
    "squeeze": "takes away these axes, which have extent 1: a list of whole numbers",
    "slice": "a part along one axis: a table, below",
    "concat": "the axis along which the variables of a list in `from` are joined",
    "cast": "another dtype, by its name: `float32`, `int64`, ...",
    "zero_rows": "these rows become zero: a table, below",
}

KEYS: dict[str, dict[str, str]] = {
    "a mapping file": {
        "model_type": "the `model_type` of config.json that it is for",
        "about": "one line for people",
        "extends": "the mapping that it builds on: a shipped one's name, or a file beside this one",
        "let": "constants for templates and expressions: text and whole numbers, by name",
        "config": "what the rules ask of config.json, by name, each with its default",
        "derive": "values that follow from those, by name: expressions, each from the ones before",
        "parts": "groups of rules, by name",
        "architectures": "PyTorch classes, by name (a template); `null` takes one of the base's away",
        "prefer": "a list: which variables are taken in place of others",
        "drop": "a list: which variables are left behind",
    },
    "a part": {
        "about": "one line for people",
        "at": "what stands before all names of the part",
        "for": FOR + "; around all rules",
        "when": WHEN + "; for all rules",
        "tensors": "the rules. A part that has nothing else may be this list itself",
    },
    "at": {"from": AT_FROM, "to": AT_TO},
    "a rule": {
        "from": "the variable, a template; or a list of them, which `concat` joins",
        "copy": "the name of a tensor that an earlier rule makes, to be written a second time",
        "fill": "a whole number, of which the whole tensor is made; `cast` says its dtype (float32)",
        "to": "the tensor, a template",
        "shape": "the tensor's shape in PyTorch's order: a list of expressions",
        "for": FOR,
        "when": WHEN,
        "ops": "a list of operations in their order, each a table with one of the following keys",
        **OPERATIONS,
    },
    "an operation": OPERATIONS,
    "slice": {
        "axis": "along which axis: a whole number",
        "start": "the first index: an expression",
        "stop": "the index behind the last: an expression",
        "rest": "why what lies behind the last slice's stop is dropped; without it, slices must cover the variable",
    },
    "zero_rows": {"start": "the first row: an expression", "stop": "the row behind the last: an expression"},
    "an architecture": {
        "parts": """the names of its parts. `name?` may be wholly absent from the source; of `one | other` exactly one
        is there""",
        "models": "whole models inside it, each with a mapping of its own",
        "let": "constants that replace the file's",
        "drop": "drops of its own",
    },
    "a model inside": {
        "config": "where in config.json its configuration lies: an expression; left out, the same one",
        "mapping": "its mapping, where the `model_type` of its configuration does not say it",
        "architecture": "its class, or a list of patterns: the first that fits counts; left out, the bare model",
        "at": "what stands before all its names",
        "let": "constants of its mapping",
    },
    "a preference": {
        "suffix": "a variable whose name ends so is taken in place of the one that it stands beside",
        "why": WHY,
    },
    "a drop": {
        "from": "a template; `*` is anything within a level, `**` across levels",
        "why": WHY,
    },
}

FUNCTIONS = {
    "len": "how long a list or a text is",
    "sum": "the sum of a list",
    "min": "the least of a list, or of the arguments",
    "max": "the largest of a list, or of the arguments",
    "int": "a whole number, rounded towards 0",
    "round": "the nearest whole number",
    "divisible": "`divisible(channels, divisor, least)`: MobileNet's `make_divisible`",
}
