"""The table of who may do what in ``docs/access.md``: ``python -m foldbook.api.access_table`` prints it.

It has a row for every way in. ``tests/access`` asks each of them with every role and compares.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from foldbook.access.roles import EVERYBODY, OF_EVERYTHING, READERS, Role, Roles
from foldbook.api.application import ROUTES
from foldbook.api.commands import bulk
from foldbook.api.commands.calls import command_calls
from foldbook.api.docs import docs_routes
from foldbook.api.routes import roles_of_route
from foldbook.api.streams import events, market
from foldbook.eventstore.events import Command
from foldbook.openapi import templates_of

ALLOWED = "yes"
HIDDEN = "404"
FORBIDDEN = "403"
WITHOUT_KEY = "401"
"""The words of the table."""

LINES: Roles = EVERYBODY
"""Who may begin a bulk request: each of its lines is answered as its own call would be."""


class Way(NamedTuple):
    """A way in. ``roles``: who may, beside operators; None: everybody, without a key too. ``account``: where it says
    which account it is about, in its path or in a query parameter of this name."""

    method: str
    path: str
    roles: Roles | None
    account: str | None = None

    def answer(self, role: Role | None, *, is_own: bool = True) -> str:
        """What a key with this role is answered (None: no key), about an account that it has, or has not."""
        if self.roles is None:
            return ALLOWED
        if role is None:
            return WITHOUT_KEY
        may = role is Role.OPERATOR or role in self.roles
        # A parameter is read by who may ask at all.
        if not is_own and role not in OF_EVERYTHING and (self.account == IN_PATH or (may and self.account)):
            return HIDDEN
        return ALLOWED if may else FORBIDDEN


IN_PATH = "path"
_BY_PARAMETER = {"/fills": "account", "/events": "aggregate_id"}
"""Questions to all accounts that a key has, which a query parameter narrows down to one."""
_ACCOUNT = "{user}/{exchange}/{broker}"


def ways_in(commands: Iterable[type[Command]]) -> list[Way]:
    """Every call of these commands, every route, and what the front answers by itself."""
    ways = [Way(call.method, call.template, call.roles, _in_path(call.template)) for call in command_calls(commands)]
    ways += [
        Way("POST", bulk.PATH, LINES),
        Way("GET", events.PATH, READERS, "account"),
        Way("GET", market.PATH, EVERYBODY),
    ]
    for route in (*ROUTES, *docs_routes(b"")):
        for template in templates_of(route):
            account = _BY_PARAMETER.get(template) or _in_path(template)
            ways += [Way(method, template, roles_of_route(route), account) for method in sorted(route.http_methods)]
    return ways


def _in_path(template: str) -> str | None:
    return IN_PATH if _ACCOUNT in template else None


def access_table(ways: Iterable[Way]) -> str:
    """The rows, with a column for each role."""
    head = ["call", "no key", *Role, "another's account"]
    rows = [
        [
            f"`{way.method} {_shown(way)}`",
            *(way.answer(role) for role in (None, *Role)),
            HIDDEN if way.account is not None else "",
        ]
        for way in ways
    ]
    return "".join(f"| {' | '.join(row)} |\n" for row in (head, ["---"] * len(head), *rows))


def _shown(way: Way) -> str:
    path = way.path.replace(_ACCOUNT, "{account}")
    return path if way.account in (None, IN_PATH) else f"{path}?{way.account}="


if __name__ == "__main__":
    from foldbook.trading.commands import COMMANDS

    print(access_table(ways_in(COMMANDS)), end="")
