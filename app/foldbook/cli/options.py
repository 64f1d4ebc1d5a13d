"""What options of several commands are written in. Each raises ``typer.BadParameter`` for what it is not."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from pathlib import Path

import typer

from foldbook.trading.checks import is_amount


def file_of(text: str) -> tuple[str, str | None]:
    """FILE[:SYMBOL]; a symbol may contain colons, a file's name must exist."""
    if Path(text).exists():
        return text, None
    path, _, symbol = text.partition(":")
    return path, symbol or None


def symbols_of(text: str | None) -> tuple[str, ...]:
    return tuple(dict.fromkeys(symbol.strip() for symbol in (text or "").split(",") if symbol.strip()))


def pair_of(option: str, text: str) -> tuple[str, str]:
    """NAME=VALUE."""
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise typer.BadParameter(f"{text!r} is not NAME=VALUE", param_hint=option)
    return name.strip(), value.strip()


def number_of(option: str, text: str, *, is_negative_allowed: bool = False) -> Decimal:
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise typer.BadParameter(f"{text!r} is not a number", param_hint=option) from None
    if not is_amount(number) or (number < 0 and not is_negative_allowed):
        raise typer.BadParameter(f"{text} is not an amount of 0 or more", param_hint=option)
    return number
