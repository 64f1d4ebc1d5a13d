"""Strategies by name, and their parameters from texts."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

import pytest

from foldbook.strategies import Bar, Strategy, StrategyError
from foldbook.strategies.examples.sma_cross import SmaCross
from foldbook.strategies.loading import load_strategy, with_parameters

FILE = """
from decimal import Decimal

from foldbook.strategies import Strategy


class Mine(Strategy):
    size: Decimal = Decimal(1)


class Helper:
    pass
"""


@pytest.fixture(autouse=True)
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The current folder is an empty one, and what loading adds to ``sys`` is removed again."""
    monkeypatch.chdir(tmp_path)
    path, modules = list(sys.path), set(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        del sys.modules[name]


# -- loading -------------------------------------------------------------------------------------------------------


def test_a_class_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(FILE)
    for reference in ("mine.py:Mine", f"{tmp_path}/mine.py:Mine"):
        found = load_strategy(reference)
        assert found.__name__ == "Mine"
        assert list(found.parameters()) == ["size"]


def test_files_of_one_name_in_two_folders_are_two_modules(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.py").write_text(FILE)
    a, b = load_strategy("a/mine.py:Mine"), load_strategy("b/mine.py:Mine")
    assert a is not b
    assert sys.modules[a.__module__] is not sys.modules[b.__module__]


def test_a_class_of_a_module() -> None:
    assert load_strategy("foldbook.strategies.examples.sma_cross:SmaCross") is SmaCross


def test_a_module_may_be_in_the_current_folder(tmp_path: Path) -> None:
    (tmp_path / "beside_me.py").write_text(FILE)
    assert load_strategy("beside_me:Mine").__module__ == "beside_me"


def test_a_file_may_import_what_is_beside_it(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "helper_of_mine.py").write_text("SIZE = 1")
    (tmp_path / "sub" / "mine.py").write_text("import helper_of_mine\n" + FILE)
    assert load_strategy("sub/mine.py:Mine").__name__ == "Mine"


@pytest.mark.parametrize(
    ("reference", "says"),
    [
        ("mine.py", "'mine.py' names no strategy; write FILE.py:CLASS or package.module:CLASS"),
        ("mine.py:", "names no strategy"),
        (":Mine", "names no strategy"),
        ("absent.py:Mine", "there is no file absent.py"),
        ("mine.py:Other", "mine.py has no class Other; its strategies: Mine"),
        ("mine.py:Helper", "mine.py:Helper is no strategy: derive a class from foldbook.strategies.Strategy"),
        ("mine.py:Decimal", "is no strategy"),
        ("foldbook.strategies:Strategy", "is no strategy"),
        ("absent.module:Mine", "there is no module absent; a file is written with its ending, absent/module.py"),
        ("syntax.py:Mine", r"syntax.py cannot be imported: SyntaxError: .* \(line 1\)"),
        ("raises.py:Mine", "raises.py cannot be imported: ZeroDivisionError: division by zero"),
        ("raises:Mine", "raises cannot be imported: ZeroDivisionError: division by zero"),
        ("needs:Mine", "needs cannot be imported: ModuleNotFoundError: No module named 'what_is_not_there'"),
        ("typed.py:Mine", r"Mine\.size has the type list\[int\]; a parameter is an int"),
    ],
)
def test_what_cannot_be_loaded(reference: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(FILE)
    (tmp_path / "syntax.py").write_text("def (")
    (tmp_path / "raises.py").write_text("1 / 0")
    (tmp_path / "needs.py").write_text("import what_is_not_there")
    (tmp_path / "typed.py").write_text(FILE.replace("size: Decimal", "size: list[int]"))
    with pytest.raises(StrategyError, match=says):
        load_strategy(reference)


# -- parameters ----------------------------------------------------------------------------------------------------


class Base(Strategy):
    fast: int = 10


class Everything(Base):
    ratio: float = 0.5
    quantity: Decimal = Decimal(100)
    side: str = "BUY"
    is_bold: bool = False
    bound: ClassVar[int] = 7
    unannotated = 8
    _private: dict[str, Bar] | None = None


def test_parameters_are_the_annotated_attributes_of_the_class_and_its_bases() -> None:
    assert [(each.name, each.kind, each.default) for each in Everything.parameters().values()] == [
        ("fast", int, 10),
        ("ratio", float, 0.5),
        ("quantity", Decimal, Decimal(100)),
        ("side", str, "BUY"),
        ("is_bold", bool, False),
    ]


def test_texts_become_values_of_the_parameters_types() -> None:
    given = {"fast": "12", "ratio": "0.25", "quantity": "1.50", "side": "SELL", "is_bold": "True"}
    strategy = with_parameters(Everything, given)
    assert isinstance(strategy, Everything)
    values = (strategy.fast, strategy.ratio, strategy.quantity, strategy.side, strategy.is_bold)
    assert values == (12, 0.25, Decimal("1.5"), "SELL", True)
    shown = {"fast": "12", "ratio": "0.25", "quantity": "1.50", "side": "SELL", "is_bold": "true"}
    assert strategy.parameter_values() == shown
    assert with_parameters(Everything, shown).parameter_values() == shown
    assert Everything().fast == 10  # the class keeps its defaults


def test_typed_values_may_be_given_as_arguments() -> None:
    assert Everything(fast=3, quantity=Decimal(2)).parameter_values()["quantity"] == "2"
    with pytest.raises(StrategyError, match="Everything: parameter fast must be of type int, not '3'"):
        Everything(fast="3")
    with pytest.raises(StrategyError, match="Everything has no parameter 'slow'"):
        Everything(slow=3)


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("slow", "1", "Everything has no parameter 'slow'; its parameters: fast, ratio, quantity, side, is_bold"),
        ("bound", "1", "no parameter 'bound'"),
        ("fast", "1.5", "parameter fast='1.5' must be an integer"),
        ("ratio", "inf", "parameter ratio='inf' must be a finite number"),
        ("ratio", "x", "must be a finite number"),
        ("quantity", "NaN", "parameter quantity='NaN' must be a finite decimal"),
        ("quantity", "1,5", "must be a finite decimal"),
        ("is_bold", "yes", "parameter is_bold='yes' must be true or false"),
    ],
)
def test_a_text_that_is_no_value_is_refused(name: str, text: str, says: str) -> None:
    with pytest.raises(StrategyError, match=says):
        with_parameters(Everything, {name: text})


def declaring(annotation: Any, **attributes: Any) -> type[Strategy]:
    (name,) = attributes or ("size",)
    return type("Odd", (Strategy,), {"__annotations__": {name: annotation}, **attributes})


@pytest.mark.parametrize(
    ("odd", "says"),
    [
        (declaring(list, size=[]), "Odd.size has the type list; a parameter is an int, float, Decimal, str or bool"),
        (declaring("int | None", size=None), r"has the type int \| None"),
        (declaring(int), "Odd.size needs a default of type int, such as 10; it has None"),
        (declaring(Decimal, size=1), r"needs a default of type Decimal, such as Decimal\(\"0.5\"\); it has 1"),
        (declaring(int, cash=1), "Odd.cash: every strategy has a cash; give the parameter another name"),
    ],
)
def test_an_attribute_that_cannot_be_a_parameter(odd: type[Strategy], says: str) -> None:
    with pytest.raises(StrategyError, match=says):
        odd.parameters()
