"""A proposed mapping as data: the lines of its YAML file, each with how certain it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Certainty = Literal["sure", "likely", "open", "unused"]


@dataclass(frozen=True)
class ProposedLine:
    """One line of a proposed mapping.

    Attributes:
        text: The YAML.
        certainty: "sure", "likely", "open" (no variable was chosen for the tensor) or "unused" (no tensor was
            found for the variable); None for a line that proposes nothing.
        likeness: How alike the two names are, from 0 to 1; None where they were not compared.
        reason: Why the line is not sure; "" if it is.
    """

    text: str
    certainty: Certainty | None = None
    likeness: float | None = None
    reason: str = ""


@dataclass(frozen=True)
class Proposal:
    """A mapping file, ready to edit.

    Attributes:
        architecture: The PyTorch class that the mapping is for.
        lines: The file, line by line.
    """

    architecture: str
    lines: tuple[ProposedLine, ...]

    @property
    def yaml(self) -> str:
        """The text of the file."""
        return "".join(f"{line.text}\n" for line in self.lines)

    def to_json(self) -> dict[str, object]:
        """Return the file's text, and for each line that proposes something its number, counted from 1."""
        return {
            "architecture": self.architecture,
            "yaml": self.yaml,
            "lines": [
                {"line": number, "certainty": line.certainty, "likeness": line.likeness, "reason": line.reason}
                for number, line in enumerate(self.lines, start=1)
                if line.certainty is not None
            ],
        }
