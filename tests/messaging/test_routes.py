"""Dead letters over HTTP; the relay over HTTP is in test_relay.py."""

from __future__ import annotations

import msgspec
from pamqp import commands as spec
from pydantic import SecretStr

from foldbook.engine.rabbit import free_port
from foldbook.messaging.connection import connected, underlay
from foldbook.messaging.dead_letters import AUTHORIZATION, Undelivered, bury
from foldbook.messaging.topology import COMMANDS, commands_queue, declare, topology
from tests.api.conftest import assert_problem, serving, settings_for


async def test_a_letter_is_listed_and_sent_again_with_the_key_of_the_request(amqp_url: str, database: str) -> None:
    settings = settings_for(database).model_copy(update={"amqp_url": SecretStr(amqp_url)})
    async with serving(settings) as engine, connected(amqp_url, "test") as connection:
        async with connection.channel() as channel:
            await declare(channel, topology(1))
        grave = await underlay(connection).channel()
        message = Undelivered(COMMANDS, "0", spec.Basic.Properties(message_id="m-1"), b"{}")
        letter = await bury(grave, message, "malformed", "it has no type")
        answer = (await engine.client.get("/admin/dead-letters")).content
        assert answer == msgspec.json.encode(msgspec.json.decode(answer))
        [listed] = msgspec.json.decode(answer)["dead_letters"]
        assert (listed["id"], listed["code"], listed["reason"]) == (str(letter.id), "malformed", "it has no type")

        again = f"/admin/dead-letters/{letter.id}/retry"
        sent = await engine.client.post(again, headers={"Authorization": "Bearer fbk_abc_def"})
        assert sent.json() == {"id": str(letter.id), "exchange": COMMANDS, "routing_key": "0", "message_id": "m-1"}
        assert_problem(await engine.client.post(again), 404, "unknown-dead-letter")
        assert (await engine.get("/admin/dead-letters"))["dead_letters"] == []
        async with connection.channel() as channel:
            found = await (await channel.get_queue(commands_queue(0))).get(no_ack=True)
        assert found.headers[AUTHORIZATION] == "Bearer fbk_abc_def"


async def test_without_a_rabbitmq_it_is_said(database: str) -> None:
    async with serving(settings_for(database)) as engine:
        assert_problem(await engine.client.get("/admin/dead-letters"), 409, "no-rabbitmq")
        assert (await engine.get("/admin/relays"))["relays"] == []
        assert (await engine.get("/health/ready"))["relays"] == {}
    nowhere = SecretStr(f"amqp://foldbook:a-secret@127.0.0.1:{free_port()}/")
    async with serving(settings_for(database).model_copy(update={"amqp_url": nowhere})) as engine:
        answer = await engine.client.get("/admin/dead-letters")
        assert_problem(answer, 503, "rabbitmq-unavailable")
        assert "a-secret" not in answer.text
