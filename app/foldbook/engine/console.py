"""A line for the person at the terminal."""

from __future__ import annotations

import sys


def tell(text: object) -> None:
    """Print to standard error; standard output is for results."""
    print(f"foldbook: {text}", file=sys.stderr, flush=True)
