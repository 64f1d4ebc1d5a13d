"""Commands over RabbitMQ: answered as over HTTP, acknowledged after COMMIT, done once; poison is buried."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from aiormq.exceptions import DeliveryError, PublishError

from foldbook.access.access import Keys
from foldbook.errors import StoreUnavailable
from foldbook.eventstore.commands.bus import CommandBus
from foldbook.eventstore.commands.submission import CommandResult
from foldbook.eventstore.events import NO_METADATA, Command, Metadata
from foldbook.messaging.connection import connected
from foldbook.messaging.dead_letters import dead_letter
from foldbook.messaging.topology import commands_queue
from foldbook.trading.events import OrderCreated
from tests.builders import ACCOUNT, cancel, open_account, place
from tests.messaging.rabbit import Rabbit
from tests.messaging.taking import (
    EXPIRED,
    OPERATOR,
    TRADER,
    UNKNOWN,
    Sender,
    buried,
    intake,
    keyring,
    new_id,
    sender,
)
from tests.services.world import opened
from tests.waiting import until

# -- answers -----------------------------------------------------------------------------------------------------


async def test_a_command_is_answered_as_over_http(amqp_url: str, database: str) -> None:
    async with opened(database) as log, intake(amqp_url, log.bus), sender(amqp_url) as trader:
        command = open_account()
        result = await trader.ask(command)
        assert result == {
            "account": ACCOUNT,
            "shard": 0,
            "position": 1,
            "sequence": 1,
            "events": ["OrderBookCreated"],
            "command_id": str(command.command_id),
            "replayed": False,
        }
        assert await trader.ask(command) == result | {"replayed": True}
        refusal = await trader.ask(cancel("o-1"))
        assert (refusal["type"], refusal["status"]) == ("urn:foldbook:problem:unknown-order", 404)
        conflict = await trader.ask(place("o-1"), expected_sequence=7)
        assert (conflict["status"], conflict["expected"], conflict["actual"]) == (412, 7, 1)
        other = place("o-1", command_id=command.command_id)
        assert (await trader.ask(other))["type"] == "urn:foldbook:problem:idempotency-conflict"
        of_another_account = open_account("bob/binance/simulated", command_id=command.command_id)
        assert (await trader.ask(of_another_account))["account"] == "bob/binance/simulated"


async def test_the_commands_of_a_sender_keep_their_order_and_share_commits(amqp_url: str, database: str) -> None:
    async with opened(database) as log, intake(amqp_url, log.bus) as taking, sender(amqp_url) as trader:
        await trader.ask(open_account())
        orders = [place(f"o-{n}") for n in range(300)]
        before = log.bus.commits_total
        await asyncio.gather(*(trader.send(order) for order in orders))
        await until(lambda: taking.counts.answered == 301)
        created = [event.order_id for event in await log.events() if isinstance(event, OrderCreated)]
        assert created == [order.order_id for order in orders]
        assert log.bus.commits_total - before < 150


async def test_nobody_has_to_wait_for_an_answer(amqp_url: str, database: str) -> None:
    async with opened(database) as log, intake(amqp_url, log.bus) as taking, sender(amqp_url) as trader:
        await trader.send(open_account(), reply_to=None)
        await trader.send(place("o-1"), reply_to="a-queue-that-is-not-there")
        await trader.ask(place("o-2"))
        assert taking.counts.answered == 3
        assert len(await log.recorded()) == 3
        assert taking.counts.buried == 0


# -- who may -----------------------------------------------------------------------------------------------------


async def test_the_actor_is_the_name_of_the_key(amqp_url: str, database: str) -> None:
    async with opened(database) as log, intake(amqp_url, log.bus), sender(amqp_url) as trader:
        await trader.ask(open_account(), headers={"x-actor": "carol", "x-correlation-id": "c-1"})
        await trader.ask(place("o-1"), key=TRADER)
        said = [json.loads(bytes(recorded.metadata)) for recorded in await log.recorded()]
    assert said == [
        {"actor": "operator", "on_behalf_of": "carol", "correlation_id": "c-1"},
        {"actor": "alices"},
    ]


REFUSED: list[tuple[Command, dict[str, Any], str]] = [
    (place("o-1"), {"key": None}, "unauthenticated"),
    (place("o-1"), {"key": UNKNOWN}, "unauthenticated"),
    (place("o-1"), {"key": EXPIRED}, "unauthenticated"),
    (place("o-1"), {"key": None, "headers": {"authorization": 5}}, "unauthenticated"),
    (open_account(), {"key": TRADER}, "forbidden"),
    (place("o-1"), {"key": TRADER, "headers": {"x-actor": "the boss"}}, "forbidden"),
    (place("o-1", account="bob/binance/simulated"), {"key": TRADER}, "unknown-account"),
]


async def test_who_may_not_is_told_so_and_the_message_is_buried_without_its_key(amqp_url: str, database: str) -> None:
    async with opened(database) as log, intake(amqp_url, log.bus), sender(amqp_url) as trader:
        await log.execute(open_account())
        for command, given, code in REFUSED:
            assert (await trader.ask(command, **given))["type"] == f"urn:foldbook:problem:{code}"
        letters = await buried(amqp_url, len(REFUSED))
        assert [(letter.code, letter.message_id) for letter in letters] == [
            (code, str(command.command_id)) for command, _, code in REFUSED
        ]
        assert not any(key in repr(letters) for key in (OPERATOR, TRADER, UNKNOWN, EXPIRED))
        assert not any("authorization" in letter.headers for letter in letters)
        assert len(await log.recorded()) == 1


async def test_a_key_that_sends_too_many_is_told_so_and_others_are_served(amqp_url: str, database: str) -> None:
    async with opened(database) as log, intake(amqp_url, log.bus, per_s=3) as taking, sender(amqp_url) as trader:
        await log.execute(open_account())
        orders = [place(f"o-{n}") for n in range(40)]
        await asyncio.gather(*(trader.send(order, key=TRADER) for order in orders))
        await until(lambda: len(trader.answers) == 40)
        limited = [a for a in trader.answers.values() if a.get("type") == "urn:foldbook:problem:rate-limited"]
        assert 0 < len(limited) < 40
        assert taking.counts.limited == len(limited)
        assert len(await log.recorded()) == 1 + 40 - len(limited)
        assert "type" not in await trader.ask(place("o-of-another-key"))
        # Nobody would hear of the answer: it is kept, to be sent again.
        for n in range(40):
            await trader.send(place(f"p-{n}"), key=TRADER, reply_to=None)
        await until(lambda: taking.counts.buried > 0)
        (letter, *_) = await buried(amqp_url, 1)
        assert letter.code == "rate-limited"


async def test_a_revoked_key_is_refused_at_once(amqp_url: str, database: str) -> None:
    keys = keyring()
    async with opened(database) as log, intake(amqp_url, log.bus, keys), sender(amqp_url) as trader:
        await trader.ask(open_account())
        keys.follow(Keys())
        assert (await trader.ask(place("o-1")))["type"] == "urn:foldbook:problem:unauthenticated"


# -- poison ------------------------------------------------------------------------------------------------------

LINE = {"type": "OpenAccount", "account": "carol/binance/simulated"}
NESTED = b'{"type":"OpenAccount","account":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
PAST = datetime.now(UTC) - timedelta(minutes=2)


def line(**fields: Any) -> bytes:
    return json.dumps(LINE | fields).encode()


POISON: list[tuple[bytes, dict[str, Any], str, str]] = [
    (b"\xff\xfe", {}, "malformed", ""),
    (b"not json", {}, "malformed", "malformed"),
    (b"", {}, "malformed", ""),
    (b"[]", {}, "malformed", "Expected `object`"),
    (b'{"type":"OpenAccount","type":"OpenAccount","account":"a/b/simulated"}', {}, "malformed", "occurs twice"),
    (line(type="Rob"), {}, "invalid-command", "Invalid value 'Rob'"),
    (line(sum=1), {}, "malformed", "unknown field"),
    (line(account="nobody"), {}, "invalid-command", "account"),
    (NESTED, {}, "malformed", ""),
    (line(padding="x" * (1 << 20)), {}, "body-too-large", "at most"),
    (line(), {"message_id": None}, "malformed", "needs an id"),
    (line(), {"message_id": "seven"}, "malformed", "must be a UUID"),
    (line(command_id=new_id()), {}, "malformed", "not the same"),
    (line(), {"reply_to": "foldbook.commands.0"}, "malformed", "reply_to"),
    (line(), {"expiration": "60000", "timestamp": PAST}, "expired", "it was wanted until"),
    (line(), {"headers": {"x-correlation-id": "a\nb"}}, "malformed", "x-correlation-id"),
    (line(), {"headers": {"x-delivery-count": 11}}, "redelivered", "11 times"),
    (line(note=TRADER), {}, "malformed", "a key stands in the command"),
    (line(), {"headers": {"x-correlation-id": UNKNOWN}}, "malformed", "a key stands in x-correlation-id"),
]


async def test_poison_is_buried_with_the_reason_and_the_next_message_is_served(amqp_url: str, database: str) -> None:
    async with opened(database) as log, intake(amqp_url, log.bus) as taking, sender(amqp_url) as trader:
        for number, (body, given, code, _) in enumerate(POISON):
            await trader.publish(body, **{"message_id": new_id(), "correlation_id": f"{number}"} | given)
            if "reply_to" not in given:
                problem = await trader.answer_to(f"{number}")
                assert problem["type"] == f"urn:foldbook:problem:{code}", (body[:100], given, problem)
            served = await trader.ask(open_account(f"u{number}/b/simulated"))
            assert served["replayed"] is False
        assert taking.counts.buried == len(POISON)
        assert len(await log.recorded("carol/binance/simulated")) == 0
    letters = await buried(amqp_url, len(POISON))
    assert [letter.code for letter in letters] == [code for _, _, code, _ in POISON]
    assert [
        reason for letter, (_, _, _, reason) in zip(letters, POISON, strict=True) if reason not in letter.reason
    ] == []
    async with connected(amqp_url, "test") as connection:
        whole = [await dead_letter(connection, letter.id) for letter in letters]
    assert [letter.body for letter in whole] == [
        body[: 1 << 20].replace(TRADER.encode(), b"fbk_***") for body, *_ in POISON
    ]
    assert not any(key in repr(whole) for key in (TRADER, UNKNOWN))


async def test_a_command_in_the_queue_of_another_shard_is_buried(amqp_url: str, database: str) -> None:
    async with opened(database) as log, intake(amqp_url, log.bus, shard_count=2), sender(amqp_url, 2) as trader:
        problems = [await trader.ask(open_account(f"u{n}/b/simulated"), shard=0) for n in range(20)]
        wrong = [problem for problem in problems if problem.get("type") == "urn:foldbook:problem:wrong-shard"]
        assert 0 < len(wrong) < 20
        assert len(await buried(amqp_url, len(wrong))) == len(wrong)
        assert "is in shard 1 of 2, not 0" in wrong[0]["detail"]


# -- what goes away ----------------------------------------------------------------------------------------------


class Away:
    """A bus whose database is away until the test says otherwise."""

    def __init__(self, bus: CommandBus) -> None:
        self._bus = bus
        self.is_away = True
        self.refused = 0

    def submit(
        self, command: Command, *, metadata: Metadata = NO_METADATA, expected_sequence: int | None = None
    ) -> asyncio.Future[CommandResult]:
        if not self.is_away:
            return self._bus.submit(command, metadata=metadata, expected_sequence=expected_sequence)
        self.refused += 1
        future: asyncio.Future[CommandResult] = asyncio.get_running_loop().create_future()
        future.set_exception(StoreUnavailable("away", in_doubt=True))
        return future

    async def execute(self, command: Command, **given: Any) -> CommandResult:
        return await self.submit(command, **given)


async def test_while_the_database_is_away_commands_wait_and_keep_their_order(amqp_url: str, database: str) -> None:
    async with opened(database) as log, sender(amqp_url) as trader:
        bus = Away(log.bus)
        async with intake(amqp_url, bus, prefetch=10):
            commands = [open_account(), *(place(f"o-{n}") for n in range(30))]
            for command in commands:
                await trader.send(command)
            await until(lambda: bus.refused >= 3)
            assert trader.answers == {}
            bus.is_away = False
            answers = [await trader.answer_to(str(command.command_id)) for command in commands]
        assert [answer["sequence"] for answer in answers] == list(range(1, 32))
        assert all(not answer["replayed"] for answer in answers)


async def test_what_expires_while_the_database_is_away_is_not_done(amqp_url: str, database: str) -> None:
    async with opened(database) as log, sender(amqp_url) as trader:
        bus = Away(log.bus)
        async with intake(amqp_url, bus):
            await trader.send(open_account(), expiration="200")
            await until(lambda: bus.refused >= 1)
            (letter,) = await buried(amqp_url, 1)
            assert letter.code == "expired"
            bus.is_away = False
            await trader.ask(open_account("bob/binance/simulated"))
        assert await log.recorded() == []


async def test_what_was_not_acknowledged_comes_again_and_is_answered_with_the_first_result(
    amqp_url: str, database: str
) -> None:
    """The connection breaks between COMMIT and acknowledgement, and nobody was told."""

    class Deaf(Away):
        """Does everything, and its futures end only when the test says so."""

        def __init__(self, bus: CommandBus) -> None:
            super().__init__(bus)
            self.done: list[CommandResult] = []

        def submit(self, command: Command, **given: Any) -> asyncio.Future[CommandResult]:
            if not self.is_away:
                return self._bus.submit(command, **given)
            self._bus.submit(command, **given).add_done_callback(lambda future: self.done.append(future.result()))
            return asyncio.get_running_loop().create_future()

    async with opened(database) as log, sender(amqp_url) as trader:
        bus = Deaf(log.bus)
        async with intake(amqp_url, bus) as taking:
            command = open_account()
            await trader.send(command)
            await until(lambda: bool(bus.done))
            bus.is_away = False
            taking._link._connection.transport.connection._writer_task.cancel()  # type: ignore[union-attr]
            answer = await trader.answer_to(str(command.command_id))
        assert answer["replayed"] is True
        assert answer["position"] == bus.done[0].position
        assert len(await log.recorded()) == 1


async def test_it_outlives_rabbitmq(rabbitmq: Rabbit, database: str) -> None:
    url = rabbitmq.virtual_host()
    async with opened(database) as log, intake(url, log.bus) as taking:
        async with sender(url) as trader:
            await trader.ask(open_account())
            await trader.send(place("o-1"), reply_to=None)
            await until(lambda: taking.counts.answered == 2)
        await asyncio.to_thread(rabbitmq.write_down)
        await until(lambda: rabbitmq.remembers(f"{url.rpartition('/')[2]}_{commands_queue(0)}"))
        await asyncio.to_thread(rabbitmq.kill)
        await until(lambda: taking.state == "disconnected")
        await asyncio.to_thread(rabbitmq.start)
        await until(lambda: taking.state == "connected")
        async with sender(url) as trader:
            await until(partial(is_taken, trader, place("o-2")))
        assert len(await log.recorded()) == 3


async def test_a_queue_that_was_deleted_is_there_again(rabbitmq: Rabbit, database: str) -> None:
    url = rabbitmq.virtual_host()
    async with opened(database) as log, intake(url, log.bus), sender(url) as trader:
        await trader.ask(open_account())
        await asyncio.to_thread(rabbitmq.delete_queue, "foldbook.commands.0", url.rpartition("/")[2])

        await until(partial(is_taken, trader, place("o-1")))
        assert len(await log.recorded()) == 2


async def is_taken(trader: Sender, command: Command) -> bool:
    """Its queue may not be there yet, or not elect a leader yet."""
    try:
        await trader.send(command)
    except (DeliveryError, PublishError):
        return False
    return "events" in await trader.answer_to(str(command.command_id))
