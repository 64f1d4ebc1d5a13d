"""docs/guarantees.md names tests that exist, and every proof of this folder."""

from __future__ import annotations

import ast
import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
TEXT = (TESTS.parent / "docs" / "guarantees.md").read_text()
NAMED = re.findall(r"\[`([\w/]+\.py)::(\w+)`\]\(\.\./tests/([\w/]+\.py)\)", TEXT)
ABOUT_THE_PROOFS = {"test_guarantees.py", "test_soak.py"}


def names_in(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    names = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    return {name for name in names if name.startswith("test_")}


def test_every_test_that_is_named_exists() -> None:
    assert len(NAMED) == TEXT.count("::test_") > 50
    missing = [(file, name) for file, name, link in NAMED if file != link or name not in names_in(TESTS / file)]
    assert missing == []


def test_every_promise_names_a_test() -> None:
    promises = re.findall(r"^\| (?!promise \|)(.+) \| (.*) \|$", TEXT, re.MULTILINE)
    assert len(promises) > 30
    assert [promise for promise, shown_by in promises if "::test_" not in shown_by] == []


def test_every_proof_is_named() -> None:
    paths = [path for path in TESTS.glob("proof/test_*.py") if path.name not in ABOUT_THE_PROOFS]
    proofs = {(f"proof/{path.name}", name) for path in paths for name in names_in(path)}
    assert proofs - {(file, name) for file, name, _ in NAMED} == set()
