"""What ``foldbook up`` prints when everything runs: where things are, and a first order to paste.

The first order is ``first_order.sh``, which the README shows too. Its ids are fixed, and a command that was done before
gets its first answer, so the lines can be pasted again, into any log.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from textwrap import indent

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from foldbook.config import Settings
from foldbook.postgres.binaries import client_program

FIRST_ORDER = Path(__file__).with_name("first_order.sh")
DEFAULT_URL = "http://127.0.0.1:8000"
DEFAULT_KEY_FILE = "~/.local/share/foldbook/operator.key /var/lib/foldbook/operator.key 2>/dev/null | head -n 1"


def welcome(settings: Settings) -> str:
    """The text to print."""
    return f"""
Foldbook is ready.

  API           {settings.url}
  its OpenAPI   {settings.url}/docs
  {_venue(settings)}
  data          {settings.data_dir if settings.is_embedded else "the PostgreSQL of DATABASE_URL"}
  {_access(settings)}
  command line  {_command_line()} --help

In psql, as an auditor, who only reads:
  {psql_line(settings)}

A first order, from another terminal: open an account, place an order, watch it being filled, see what it made.
{indent(first_order(settings), "  ")}
Ctrl-C stops everything.
"""


def _venue(settings: Settings) -> str:
    if not settings.broker_kinds:
        return "brokers       none: reports come from outside"
    where = settings.venue_address if "simulated" in settings.broker_kinds else "none"
    return f"venue         {where}"


def _access(settings: Settings) -> str:
    if settings.access == "open":
        return "access        open: everybody on this machine may do everything"
    return f"your key      {settings.key_file}"


def first_order(settings: Settings) -> str:
    """Shell commands, with this engine's address and key."""
    text = FIRST_ORDER.read_text().replace(DEFAULT_URL, settings.url)
    return text.replace(DEFAULT_KEY_FILE, shlex.quote(str(settings.key_file)))


def psql_line(settings: Settings) -> str:
    """A shell command that connects as an auditor. It shows no password: the embedded server's is in a file, any other
    in the environment."""
    if not settings.is_embedded:
        return shlex.join([_command_line(), "psql"])
    return shlex.join([str(client_program("psql")), make_conninfo("", **conninfo_to_dict(settings.auditor_dsn))])


def _command_line() -> str:
    return str(Path(sys.executable).with_name("foldbook"))
