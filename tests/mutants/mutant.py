"""What a mutant is: a critical line, broken, and the test that must notice."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]


class Mutant(NamedTuple):
    """``line``: a part of a line, which is in the file exactly once. ``broken``: what stands in its place."""

    path: str
    line: str
    broken: str
    test: str
    """``file::function`` below ``tests/``; if it has parameters, one of them must fail."""

    @property
    def test_id(self) -> str:
        return f"tests/{self.test}"

    def break_in(self, root: Path) -> str:
        """Break the line. Returns the file's text as it was. Raises ``ValueError`` if the line is not there once."""
        path = root / self.path
        text = path.read_text()
        if (count := text.count(self.line)) != 1:
            raise ValueError(f"{self.path} has {count} times: {self.line}")
        path.write_text(text.replace(self.line, self.broken))
        return text
