"""``foldbook demo``: everything at once in a temporary folder, as separate processes, and two strategies that trade.

The processes are joined by RabbitMQ: the one of FOLDBOOK_AMQP_URL, or one that is installed and started here. Without
one, or if asked, everything runs over the local transport.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from foldbook.config import ENVIRONMENT_PREFIX, Settings
from foldbook.engine.console import tell
from foldbook.engine.parts import Child, Part
from foldbook.engine.rabbit import RabbitServer, free_port, rabbitmq_server
from foldbook.engine.transports import Way
from foldbook.engine.up import Stopped, running

EXAMPLES = "foldbook.strategies.examples"
CASH = "1000000"


class Shown(NamedTuple):
    """A strategy of the demonstration. ``parameters``: so that something happens every few seconds."""

    name: str
    reference: str
    account: str
    symbol: str
    parameters: tuple[str, ...]

    def child(self, way: Way, lock_fd: int) -> Child:
        parameters = (each for parameter in self.parameters for each in ("--param", parameter))
        arguments = (
            *("strategy", "run", f"{EXAMPLES}.{self.reference}", "--transport", way),
            *("--account", self.account, "--symbols", self.symbol, "--strategy-id", self.name, "--cash", CASH),
            *parameters,
        )
        return Child(f"the strategy {self.name}", arguments, lock_fd)


STRATEGIES = (
    Shown(
        "maker",
        "market_maker:MarketMaker",
        "maker/demo/simulated",
        "BTCUSDT",
        ("half_spread=0.000001", "tick=0.1", "size=0.05", "inventory_max=0.5"),
    ),
    Shown(
        "twap",
        "twap:Twap",
        "twap/demo/simulated",
        "ETHUSDT",
        ("quantity=100", "slices=1000", "every_s=2", "lot=0.1"),
    ),
)


def demo(way: Way | None, seconds: float) -> None:
    """Run for so long, or until Ctrl-C. Nothing stays. Raises what ``running`` raises."""
    with suppress(Stopped), _temporary_folder() as folder:
        _choose(folder)
        server = _rabbitmq(folder) if way is not Way.LOCAL else None
        if server is not None:
            os.environ[f"{ENVIRONMENT_PREFIX}AMQP_URL"] = server.url
        if way is Way.LOCAL:
            os.environ.pop(f"{ENVIRONMENT_PREFIX}AMQP_URL", None)
        settings = Settings()
        way = Way.LOCAL if settings.amqp_url is None else Way.AMQP
        tell("starting: a database, an engine, a venue, a gateway and market data" + _joined(server, way))
        before: tuple[Part, ...] = () if server is None else (server,)
        with running(settings, *before) as (supervisor, lock_fd):
            for shown in STRATEGIES:
                supervisor.start(shown.child(way, lock_fd))
            print(_text(settings, way), flush=True)
            supervisor.watch(seconds)


def _joined(server: RabbitServer | None, way: Way) -> str:
    if way is Way.LOCAL:
        return "; without RabbitMQ"
    return "; RabbitMQ joins them" if server is None else "; RabbitMQ joins them, and takes a while to start"


@contextmanager
def _temporary_folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="foldbook-demo-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def _choose(folder: Path) -> None:
    """Settings of its own, which its processes inherit: an engine that runs already is left alone."""
    chosen = {
        "DATA_DIR": folder / "engine",
        "PORT": free_port(),
        "VENUE_PORT": free_port(),
        "ACCESS": "keys",
        "SHARDS": 1,
        "BROKERS": "simulated",
        "MARKET": "sample",
        "LOG_LEVEL": "error",
    }
    for name in ("DATABASE_URL", f"{ENVIRONMENT_PREFIX}DATABASE_URL", f"{ENVIRONMENT_PREFIX}KEY"):
        os.environ.pop(name, None)
    os.environ.pop(f"{ENVIRONMENT_PREFIX}VENUE_URL", None)
    os.environ.update({f"{ENVIRONMENT_PREFIX}{name}": str(value) for name, value in chosen.items()})


def _rabbitmq(folder: Path) -> RabbitServer | None:
    """One to start; None: one is named, or none is installed."""
    program = rabbitmq_server()
    if os.environ.get(f"{ENVIRONMENT_PREFIX}AMQP_URL") or program is None:
        return None
    (folder / "rabbitmq").mkdir()
    return RabbitServer(folder / "rabbitmq", program)


def _text(settings: Settings, way: Way) -> str:
    how = "on this machine" if way is Way.LOCAL else "over RabbitMQ"
    names = "\n".join(f"  {shown.name:<8}{shown.reference}, in {shown.account}" for shown in STRATEGIES)
    variables = " ".join(
        f"{ENVIRONMENT_PREFIX}{name}={value}"
        for name, value in (("PORT", settings.port), ("DATA_DIR", settings.data_dir))
    )
    return f"""
Two strategies trade at the simulated venue, {how}:
{names}

What they do follows here. The events of the log, from another terminal:
  {variables} foldbook events follow

Ctrl-C stops everything, and nothing stays.
"""
