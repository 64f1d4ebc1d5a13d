"""The same order, placed with the package ``eventsourcing`` (9.5) on the same server, in a separate process.

It is an ordinary application as the package's documentation shows one: an ``Aggregate`` per account, whose events are
declared by ``@event``, and an ``Application``, whose method gets the aggregate from the repository, changes it and
saves it. Everything that the documentation offers for speed is on: inserts by its database function
(``POSTGRES_ENABLE_DB_FUNCTIONS``), a cache of aggregates that are neither read again nor copied
(``AGGREGATE_CACHE_MAXSIZE``, ``..._FASTFORWARD``, ``DEEPCOPY_FROM_AGGREGATE_CACHE``), a connection for each thread. No
two threads share an account, so nothing conflicts. A run begins by trying how many threads serve it best
(``THREADS_TRIED``).
"""

from __future__ import annotations

import os
import sys
import threading
import time
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import count
from uuid import UUID

import msgspec
from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event
from psycopg.conninfo import conninfo_to_dict

from bench.arena import Arena, run_child
from bench.clock import Stopwatch
from bench.load import PRICES, QUANTITY, STRATEGIES, SYMBOLS
from bench.table import Slice

ACCOUNTS = 96
WARM_UP_S = 0.4
THREADS_TRIED = (1, 4, 16)


class Account(Aggregate):
    """The order book of one account: its open orders."""

    @event("Opened")
    def __init__(self, name: str) -> None:
        self.name = name
        self.orders: dict[str, Decimal] = {}

    def place(
        self, order_id: str, strategy_id: str, symbol: str, side: str, quantity: Decimal, limit_price: Decimal
    ) -> None:
        if order_id in self.orders:
            raise ValueError(f"order id {order_id} was used before")
        if quantity <= 0 or limit_price <= 0:
            raise ValueError("quantity and limit_price must be greater than 0")
        self._order_created(order_id, strategy_id, symbol, side, "LIMIT", quantity, limit_price, "GTC")

    @event("OrderCreated")
    def _order_created(
        self,
        order_id: str,
        strategy_id: str,
        symbol: str,
        side: str,
        order_type: str,
        quantity: Decimal,
        limit_price: Decimal,
        time_in_force: str,
    ) -> None:
        self.orders[order_id] = quantity


class OrderBooks(Application[UUID]):
    """The application: opens accounts and places orders on them."""

    def open(self, name: str) -> UUID:
        account = Account(name)
        self.save(account)
        return account.id

    def place(self, account_id: UUID, order_id: str, number: int) -> None:
        account: Account = self.repository.get(account_id)
        account.place(order_id, STRATEGIES[number % 3], SYMBOLS[number % 7], "BUY", QUANTITY, PRICES[number % 50])
        self.save(account)


class PeerLoad(msgspec.Struct, frozen=True, kw_only=True):
    dsn: str
    threads: int
    seconds: float


@dataclass
class Peer:
    """The application with so many threads calling it."""

    dsn: str
    threads: int

    def run(self, seconds: float) -> Slice:
        return run_child(
            "bench.peer_eventsourcing", PeerLoad(dsn=self.dsn, threads=self.threads, seconds=seconds), Slice
        )


def prepare_peer(place: Arena, seconds: float) -> Peer:
    """A database for it, and the number of threads that serves it best."""
    dsn = place.create_database()
    tried = [Peer(dsn, threads) for threads in THREADS_TRIED]
    return max(tried, key=lambda peer: peer.run(seconds).rate)


@dataclass
class _Callers:
    """Threads that place orders in a closed loop. Each has its own accounts."""

    books: OrderBooks
    threads: int
    is_over: threading.Event = field(default_factory=threading.Event)
    errors: list[Exception] = field(default_factory=list)

    def run(self, seconds: float) -> Slice:
        tag = os.urandom(4).hex()
        accounts = [self.books.open(f"peer{tag}-{i}/binance/simulated") for i in range(ACCOUNTS)]
        done = [0] * self.threads
        threads = [
            threading.Thread(target=self._call, args=(accounts[i :: self.threads], f"{tag}-{i}", done, i))
            for i in range(self.threads)
        ]
        for thread in threads:
            thread.start()
        time.sleep(WARM_UP_S)
        first, stopwatch = sum(done), Stopwatch()
        time.sleep(seconds)
        measured = stopwatch.slice(sum(done) - first)
        self.is_over.set()
        for thread in threads:
            thread.join()
        if self.errors:
            raise self.errors[0]
        return measured

    def _call(self, accounts: list[UUID], tag: str, done: list[int], index: int) -> None:
        try:
            for n in count():
                if self.is_over.is_set():
                    return
                self.books.place(accounts[n % len(accounts)], f"o-{tag}-{n}", n)
                done[index] += 1
        except Exception as error:
            self.errors.append(error)


def _environment(load: PeerLoad) -> dict[str, str]:
    server = {name: str(value) for name, value in conninfo_to_dict(load.dsn).items()}
    os.environ["PGPASSFILE"] = server["passfile"]
    return {
        "PERSISTENCE_MODULE": "eventsourcing.postgres",
        "POSTGRES_DBNAME": server["dbname"],
        "POSTGRES_HOST": server["host"],
        "POSTGRES_PORT": server["port"],
        "POSTGRES_USER": server["user"],
        "POSTGRES_PASSWORD": "",
        "POSTGRES_POOL_SIZE": str(load.threads),
        "POSTGRES_MAX_OVERFLOW": "0",
        "POSTGRES_ENABLE_DB_FUNCTIONS": "yes",
        "AGGREGATE_CACHE_MAXSIZE": "1000",
        "AGGREGATE_CACHE_FASTFORWARD": "no",
        "DEEPCOPY_FROM_AGGREGATE_CACHE": "no",
    }


if __name__ == "__main__":
    task = msgspec.json.decode(sys.argv[1], type=PeerLoad)
    with OrderBooks(_environment(task)) as books:
        print(msgspec.json.encode(_Callers(books, task.threads).run(task.seconds)).decode())
