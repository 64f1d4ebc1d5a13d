"""What ``foldbook up`` prints when everything runs: where things are, and a first order to paste."""

from __future__ import annotations

import json
import shlex
import time

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from foldbook.config import Settings
from foldbook.postgres.binaries import client_program

# Reads are eventually consistent: a read that names a command's position waits until it is there.
_POSITION = r"""sed -n 's/.*"position":\([0-9]*\).*/\1/p'"""

ACCOUNT = {"user": "alice", "exchange": "binance", "broker": "simulated"}


def welcome(settings: Settings) -> str:
    """The order's id is new at every start, so that the lines work as often as they are pasted."""
    account = f"/accounts/{'/'.join(ACCOUNT.values())}"
    order_id = f"order-{int(time.time())}"
    order = {
        "order_id": order_id,
        "strategy_id": "first-steps",
        "symbol": "BTCUSDT",
        "side": "BUY",
        "order_type": "LIMIT",
        "quantity": "0.5",
        "limit_price": "64250.1",
        "time_in_force": "GTC",
    }
    fill = {
        "order_id": order_id,
        "exec_type": "TRADE",
        "exec_id": f"{order_id}-fill",
        "last_qty": "0.2",
        "last_px": "64250",
    }
    return f"""
Foldbook is ready.

  API           {settings.url}
  its OpenAPI   {settings.url}/docs
  data          {settings.data_dir if settings.is_embedded else "the PostgreSQL of DATABASE_URL"}

In psql:
  {psql_line(settings)}

A first order: open an account and place it; fill a part; read it back, the fill included.
  {_post(settings, "/accounts", ACCOUNT)}; echo && {_post(settings, f"{account}/orders", order)}; echo
  position=$({_post(settings, f"{account}/execution-reports", fill)} | tee /dev/stderr | {_POSITION}); echo
  curl -sS "{settings.url}{account}/orders/{order_id}?min_position=${{position:-0}}"; echo

Ctrl-C stops everything.
"""


def psql_line(settings: Settings) -> str:
    """A line for a shell. No password shows: the embedded server's is in a file, another's in the environment."""
    psql = str(client_program("psql"))
    if not settings.is_embedded:
        return f'{shlex.quote(psql)} "$DATABASE_URL"'
    return shlex.join([psql, make_conninfo("", **conninfo_to_dict(settings.owner_dsn))])


def _post(settings: Settings, path: str, body: dict[str, str]) -> str:
    curl = ["curl", "-sS", "-H", "Content-Type: application/json", "-d", json.dumps(body), f"{settings.url}{path}"]
    return shlex.join(curl)
