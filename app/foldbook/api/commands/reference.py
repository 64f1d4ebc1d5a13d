"""The table of commands in ``docs/http.md``: ``python -m foldbook.api.commands.reference`` prints it."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from foldbook.api.commands.calls import CommandCall, command_calls
from foldbook.api.commands.openapi import description_of
from foldbook.eventstore.command_json import declaration_of
from foldbook.eventstore.events import Command

_HEAD = """\
| call | line | does | body | sent by | its refusals |
|---|---|---|---|---|---|
"""


def command_table(commands: Iterable[type[Command]]) -> str:
    """A row for each call. A field that may be absent has a question mark."""
    return _HEAD + "".join(_row(call) for call in command_calls(commands))


def _row(call: CommandCall) -> str:
    declaration = declaration_of(call.command_type)
    cells = (
        f"`{call.method} {call.call.path}`",
        f"`{call.command_type.__name__}`",
        description_of(call).split("\n\n")[0].replace("\n", " "),
        ", ".join(f"`{field.encode_name}{'' if field.required else '?'}`" for field in _fields(call)) or "none",
        declaration.role,
        ", ".join(f"`{code}`" for code in declaration.refusals),
    )
    return f"| {' | '.join(cells)} |\n"


def _fields(call: CommandCall) -> tuple[msgspec.structs.FieldInfo, ...]:
    return msgspec.structs.fields(call.body.form.type)


if __name__ == "__main__":
    from foldbook.trading.commands import COMMANDS

    print(command_table(COMMANDS), end="")
