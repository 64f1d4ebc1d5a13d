"""What commands share: the settings, common options, output as JSON and tables."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

from foldbook.cli.exits import Exit
from foldbook.config import ENVIRONMENT_PREFIX, Settings, nearest_variable, unknown_variables
from foldbook.engine.console import tell

WIDTH_WITHOUT_TERMINAL = 200

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
UntilStdinCloses = Annotated[
    bool,
    typer.Option("--until-stdin-closes", help="End when standard input closes, as `foldbook up` needs it."),
]


def read_settings() -> Settings:
    """The settings. Invalid ones end this process, with a line for each."""
    try:
        return Settings()
    except ValidationError as error:
        for problem in error.errors():
            tell(_variable_of(problem["loc"]) + problem["msg"].removeprefix("Value error, "))
        raise typer.Exit(Exit.USAGE) from None


def amqp_url(settings: Settings) -> str:
    """The URL of RabbitMQ. Without one, this process ends."""
    if settings.amqp_url is None:
        tell("FOLDBOOK_AMQP_URL is not set: it names a RabbitMQ, as amqp://user:password@host:port/virtual-host")
        raise typer.Exit(Exit.USAGE)
    return settings.amqp_url.get_secret_value()


def _variable_of(place: tuple[int | str, ...]) -> str:
    """What begins the line about an invalid setting; nothing, if its text names what contradicts each other."""
    if not place:
        return ""
    name = str(place[0])
    return f"{name if name.isupper() else ENVIRONMENT_PREFIX + name.upper()}: "


def warn_of_unknown_variables() -> None:
    """Warn about each variable that looks like a setting but is not one, because it would silently have no effect."""
    for name in unknown_variables():
        nearest = nearest_variable(name)
        tell(f"warning: {name} is not a setting" + (f"; did you mean {nearest}?" if nearest else ""))


def print_json(value: object) -> None:
    print(json.dumps(value, indent=2, default=str))


def print_rows(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    table = Table(*columns, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*("" if row[column] is None else str(row[column]) for column in columns))
    Console(width=None if sys.stdout.isatty() else WIDTH_WITHOUT_TERMINAL).print(table)
