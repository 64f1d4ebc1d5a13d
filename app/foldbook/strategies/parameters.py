"""The parameters of a strategy: its annotated class attributes."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from math import isfinite
from typing import NamedTuple, TypeAlias

from foldbook.strategies.errors import StrategyError

ParameterValue: TypeAlias = int | float | Decimal | str | bool


class Parameter(NamedTuple):
    """``kind`` is int, float, Decimal, str or bool; ``default`` is a value of exactly that type."""

    name: str
    kind: type[ParameterValue]
    default: ParameterValue


def declared(cls: type, base: type) -> dict[str, Parameter]:
    """The parameters that ``cls`` and its bases below ``base`` declare, those of a base first.

    Annotations that begin with an underscore or are a ``ClassVar`` declare no parameter. Raises ``StrategyError`` for
    any other type, a missing or wrong default, and a name that ``base`` uses itself.
    """
    found: dict[str, Parameter] = {}
    for owner in reversed(cls.__mro__):
        if owner is base or not issubclass(owner, base):
            continue
        for name, annotation in inspect.get_annotations(owner).items():
            written = annotation if isinstance(annotation, str) else _written(annotation)
            if not name.startswith("_") and not _CLASS_VARIABLE.match(written):
                found[name] = _parameter(cls, base, name, written)
    return found


def parse(cls: type, parameter: Parameter, text: str) -> ParameterValue:
    """The value that ``text`` writes. Raises ``StrategyError``."""
    try:
        value = _PARSERS[parameter.kind](text)
    except (ValueError, InvalidOperation):
        value = None
    if value is None or (isinstance(value, float | Decimal) and not isfinite(value)):
        needed = _WRITTEN_AS[parameter.kind]
        raise StrategyError(f"{cls.__name__}: parameter {parameter.name}={text!r} must be {needed}")
    return value


def check(cls: type, known: Mapping[str, Parameter], given: Mapping[str, ParameterValue]) -> None:
    """Raises ``StrategyError`` if a name is unknown or a value is not of its parameter's type."""
    check_names(cls, known, given)
    for name, value in given.items():
        kind = known[name].kind
        if type(value) is not kind:
            raise StrategyError(f"{cls.__name__}: parameter {name} must be of type {kind.__name__}, not {value!r}")


def check_names(cls: type, known: Mapping[str, Parameter], given: Mapping[str, object]) -> None:
    """Raises ``StrategyError`` for a name that is not a parameter."""
    for name in given:
        if name not in known:
            names = ", ".join(known) or "none"
            raise StrategyError(f"{cls.__name__} has no parameter {name!r}; its parameters: {names}")


def shown(value: ParameterValue) -> str:
    """A text that ``parse`` reads back."""
    return str(value).lower() if isinstance(value, bool) else str(value)


_CLASS_VARIABLE = re.compile(r"(?:\w+\.)*ClassVar\b")

_KINDS: dict[str, type[ParameterValue]] = {kind.__name__: kind for kind in (int, float, Decimal, str, bool)}
_WRITTEN_AS: dict[type[ParameterValue], str] = {
    int: "an integer",
    float: "a finite number",
    Decimal: "a finite decimal",
    str: "a text",
    bool: "true or false",
}
_BOOLEANS = {"true": True, "false": False}
_PARSERS: dict[type[ParameterValue], Callable[[str], ParameterValue | None]] = {
    int: int,
    float: float,
    Decimal: Decimal,
    str: str,
    bool: lambda text: _BOOLEANS.get(text.lower()),
}


def _written(annotation: object) -> str:
    return annotation.__name__ if isinstance(annotation, type) else str(annotation)


def _parameter(cls: type, base: type, name: str, written: str) -> Parameter:
    kind = _KINDS.get(written.rpartition(".")[2])
    if kind is None:
        raise StrategyError(
            f"{cls.__name__}.{name} has the type {written}; a parameter is an int, float, Decimal, str or bool."
            " Begin the name of what is no parameter with an underscore"
        )
    if hasattr(base, name):
        raise StrategyError(f"{cls.__name__}.{name}: every strategy has a {name}; give the parameter another name")
    default = getattr(cls, name, None)
    if type(default) is not kind:
        needed = f"{kind.__name__}, such as {_EXAMPLES[kind]}"
        raise StrategyError(f"{cls.__name__}.{name} needs a default of type {needed}; it has {default!r}")
    return Parameter(name, kind, default)


_EXAMPLES: dict[type[ParameterValue], str] = {
    int: "10",
    float: "0.5",
    Decimal: 'Decimal("0.5")',
    str: '"text"',
    bool: "False",
}
