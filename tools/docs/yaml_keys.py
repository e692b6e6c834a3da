"""What each key of the YAML language means. tools/docs/reference.py compares the keys with the parser's."""

INTRODUCTION = """# The YAML language of mappings

These are all keys of a mapping. Any other key is an error, which names its line. [Mappings](../mappings.md) explains
them with examples. *Template*: text in which `{name}` stands for a constant, a loop variable or a value of config.json.
*Expression*: names, integers, text in quotes, lists, arithmetic, comparisons, `in`, `and`, `or`, `not`,
`a if condition else b`, and the functions below. An expression runs no code.
"""

AT_FROM = "template in front of every `from`, joined with `/`"
AT_TO = "template in front of every `to`, joined with `.`"
FOR = """loops, by the name of their variable: an expression (counts from 0), a list of names or integers, or a table
from the name in `from` to the name in `to`"""
WHEN = "expression that must be true, or a table from names to the required value, or to a list of allowed values"
WHY = "reason, which the receipt and the report show"
TRANSPOSE = "axis j of the result is axis `perm[j]`, as in `numpy.transpose`: a list of integers"
OPERATIONS = {
    "transpose": TRANSPOSE,
    "reshape": "new shape for the same elements: a list of expressions; `-1` is calculated from the others",
    "squeeze": "axes of length 1 to remove: a list of integers",
    "slice": "part along one axis: a table, below",
    "concat": "axis along which the variables of a list in `from` are joined",
    "cast": "name of another dtype: `float32`, `int64`, ...",
    "zero_rows": "rows to set to zero: a table, below",
}

KEYS: dict[str, dict[str, str]] = {
    "a mapping file": {
        "model_type": "the `model_type` of config.json that the mapping is for",
        "about": "description of one line",
        "extends": "mapping that this one extends: the name of a shipped one, or a file in the same directory",
        "let": "constants for templates and expressions: text and integers, by name",
        "config": "values that the rules need from config.json, by name, each with its default",
        "derive": "values that follow from these, by name: expressions, each of which may use the ones before",
        "parts": "groups of rules, by name",
        "architectures": "PyTorch classes, by name (a template); `null` removes a class of the extended mapping",
        "prefer": "list of variables that replace others",
        "drop": "list of variables that are dropped",
    },
    "a part": {
        "about": "description of one line",
        "at": "start of all names of the part",
        "for": FOR + "; around all rules",
        "when": WHEN + "; for all rules",
        "tensors": "the rules. A part without other keys can be this list itself",
    },
    "at": {"from": AT_FROM, "to": AT_TO},
    "a rule": {
        "from": "the variable, a template; or a list of variables, which `concat` joins",
        "copy": "name of a tensor that an earlier rule makes, to be written a second time",
        "fill": "integer with which the whole tensor is filled; `cast` gives its dtype  [default: float32]",
        "to": "the tensor, a template",
        "shape": "the tensor's shape in PyTorch's order: a list of expressions",
        "for": FOR,
        "when": WHEN,
        "ops": "list of operations in order, each a table with one of the following keys",
        **OPERATIONS,
    },
    "an operation": OPERATIONS,
    "slice": {
        "axis": "axis of the slice: an integer",
        "start": "first index: an expression",
        "stop": "index behind the last: an expression",
        "rest": """why the variable is dropped from the last slice's stop on; without this key, the slices must cover
        the variable""",
    },
    "zero_rows": {"start": "first row: an expression", "stop": "row behind the last: an expression"},
    "an architecture": {
        "parts": """names of its parts. `name?` may be absent from the source as a whole; of `one | other`, exactly one
        is there""",
        "models": "whole models inside it, each with its own mapping",
        "let": "constants that replace the file's",
        "drop": "drops for this architecture",
    },
    "a model inside": {
        "config": "where in config.json its configuration is: an expression; by default, the whole configuration",
        "mapping": "its mapping, where the `model_type` of its configuration does not name it",
        "architecture": "its class, or a list of patterns, of which the first match counts; by default, the bare model",
        "at": "start of all its names",
        "let": "constants of its mapping",
    },
    "a preference": {
        "suffix": "a variable whose name ends in this replaces the variable with the same name without it",
        "why": WHY,
    },
    "a drop": {
        "from": "template; `*` matches within a level, `**` across levels",
        "why": WHY,
    },
}

FUNCTIONS = {
    "len": "length of a list or a text",
    "sum": "sum of a list",
    "min": "smallest item of a list, or smallest argument",
    "max": "largest item of a list, or largest argument",
    "int": "integer, rounded towards 0",
    "round": "nearest integer",
    "divisible": "`divisible(channels, divisor, least)`: MobileNet's `make_divisible`",
}
