"""What options of several commands are written in. Each raises ``typer.BadParameter`` for what it is not."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from pathlib import Path

import typer

from foldbook.addresses import check_http
from foldbook.trading.checks import is_amount
from foldbook.venue.orders import Costs


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


def url_of(option: str, text: str) -> str:
    """http://host:port."""
    try:
        check_http(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None
    return text


def number_of(option: str, text: str, *, is_negative_allowed: bool = False) -> Decimal:
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise typer.BadParameter(f"{text!r} is not a number", param_hint=option) from None
    if not is_amount(number) or (number < 0 and not is_negative_allowed):
        raise typer.BadParameter(f"{text} is not an amount of 0 or more", param_hint=option)
    return number


def costs_of(fee: str | None, spread: str, slippage: str, commission: str | None = None) -> Costs:
    """``--fee taker=0.001,maker=-0.0005`` or ``--commission`` for both; ``--spread`` and ``--slippage``.

    All are fractions below 1; a fee below 0 is a rebate.
    """
    if fee and commission is not None:
        raise typer.BadParameter("and --commission exclude each other", param_hint="--fee")
    rates: dict[str, Decimal] = {}
    if commission is not None:
        rates = dict.fromkeys(("taker", "maker"), _fraction_of("--commission", commission))
    for part in fee.split(",") if fee else ():
        name, value = pair_of("--fee", part)
        if name not in ("taker", "maker") or name in rates:
            raise typer.BadParameter(f"{fee!r} is not taker=FRACTION,maker=FRACTION", param_hint="--fee")
        rates[name] = _fraction_of("--fee", value, is_negative_allowed=True)
    return Costs(spread=_fraction_of("--spread", spread), slippage=_fraction_of("--slippage", slippage), **rates)


def _fraction_of(option: str, text: str, *, is_negative_allowed: bool = False) -> Decimal:
    number = number_of(option, text, is_negative_allowed=is_negative_allowed)
    if abs(number) >= 1:
        raise typer.BadParameter(f"{text} is not a fraction, such as 0.001", param_hint=option)
    return number
