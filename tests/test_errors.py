"""Every code that can be raised is registered once; one that nobody registered is answered all the same."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

import foldbook
from foldbook import errors
from foldbook.api.problems import Problem, problem_of
from foldbook.errors import FoldbookError, Refusal, kind_of, register

RAISED_WITH_A_CODE = {"Refusal", "Problem", "ProjectionError"}
SOURCES = sorted(Path(foldbook.__file__).parent.rglob("*.py"))


def codes_raised() -> set[str]:
    """The first argument of each error that is made with a code, and the code that each class declares."""
    found: set[str] = set()
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in RAISED_WITH_A_CODE:
                match node.args:
                    case [ast.Constant(value=str(code)), *_]:
                        found.add(code)
            if isinstance(node, ast.ClassDef):
                found |= {
                    str(keyword.value.value)
                    for keyword in node.keywords
                    if keyword.arg == "code" and isinstance(keyword.value, ast.Constant)
                }
    return found


def import_everything() -> None:
    for module in pkgutil.walk_packages(foldbook.__path__, "foldbook."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)


def test_every_code_that_can_be_raised_is_registered() -> None:
    import_everything()
    codes = codes_raised()
    assert {"unknown-order", "malformed", "overloaded", "projection-busy"} <= codes
    assert {code for code in codes if kind_of(code) is None} == set()


def test_the_tree_names_every_class_of_errors() -> None:
    import_everything()

    def below(kind: type[FoldbookError]) -> set[str]:
        return {kind.__name__}.union(*(below(each) for each in kind.__subclasses__()))

    tree = re.findall(r"(?:──|^    ) ?([A-Z]\w+)", errors.__doc__ or "", re.MULTILINE)
    assert sorted(tree) == sorted(below(FoldbookError))


def test_a_code_means_one_thing() -> None:
    with pytest.raises(ValueError, match="registered already"):
        register({"unknown-order": (400, "Something else")})


def test_the_refusal_of_a_newer_program_is_answered_with_its_own_code() -> None:
    problem = problem_of(Refusal("margin-call", "the account is short of margin", missing="12.5", status="odd"))
    assert problem.status == 409
    assert msgspec.json.decode(problem.to_json()) == {
        "type": "urn:foldbook:problem:margin-call",
        "title": "The command was refused",
        "status": 409,
        "detail": "the account is short of margin",
        "missing": "12.5",
    }


@pytest.mark.parametrize(
    "error",
    [
        Refusal("x", "y", what=object()),
        FoldbookError("nobody foresaw this"),
        Problem("nothing-of-the-kind", "no"),
        KeyError("k"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
        ExceptionGroup("many", [ValueError("one")]),
    ],
)
def test_whatever_is_raised_becomes_a_problem(error: Exception) -> None:
    document: dict[str, Any] = msgspec.json.decode(problem_of(error).to_json())
    assert document.keys() >= {"type", "title", "status", "detail"}
    assert 400 <= document["status"] <= 599
