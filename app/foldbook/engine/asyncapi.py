"""The AsyncAPI document of what goes over RabbitMQ, made from the topology and the types of the messages.

AsyncAPI 3.0, with its bindings for AMQP 0-9-1: a channel is an exchange with the form of its routing keys, or a queue.
An operation is what Foldbook does: it sends events, and receives commands.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import metadata
from typing import Any, NamedTuple

import msgspec

from foldbook.api.problems import ProblemDocument
from foldbook.api.queries.documents import RecordedEvent
from foldbook.engine.domains import DOMAINS, commands_of
from foldbook.eventstore.command_json import CommandLines, identity_of
from foldbook.eventstore.commands.documents import result_type
from foldbook.messaging.command_messages import CORRELATION_ID, ON_BEHALF_OF
from foldbook.messaging.connection import PERSISTENT, TRANSIENT
from foldbook.messaging.dead_letters import AUTHORIZATION, DeadLetter
from foldbook.messaging.market_messages import Bars, Opens, Quotes, Trades
from foldbook.messaging.topology import COMMANDS, DEAD, EVENTS, MARKET, Exchange, topology

Json = dict[str, Any]

BINDING_VERSION = "0.3.0"

_SCHEMA = "#/components/schemas/{name}"


class Message(NamedTuple):
    """``payload``: its type, or several of which it is one. ``properties``, ``headers``: what each of them says."""

    name: str
    summary: str
    payload: Any
    properties: dict[str, str]
    headers: dict[str, str]


EVENT = Message(
    "Event",
    "An event of the log, as `GET /events` shows it.",
    RecordedEvent,
    {
        "message_id": "`<log id>/<shard>/<position>`: positions grow by one, and a repeated one is known by it",
        "type": "the type of the event",
    },
    {
        "aggregate_type": "the kind of the aggregate",
        "aggregate_id": "its id; of an order book, the account",
        "sequence": "the number of the event within its aggregate",
        "schema_version": "the shape of the payload",
    },
)
COMMAND = Message(
    "Command",
    "A command, as a line of `POST /commands`.",
    CommandLines(commands_of(DOMAINS)).type,
    {
        "message_id": "the command's id, a UUID: sent again, it is answered with the first result",
        "reply_to": "the queue for the answer; without it nobody is told",
        "correlation_id": "comes back with the answer",
        "expiration": "milliseconds after which nobody wants it done any more",
    },
    {
        AUTHORIZATION: "`Bearer <key>`",
        CORRELATION_ID: "what the command belongs to",
        ON_BEHALF_OF: "on whose behalf an operator asks",
    },
)
ANSWER = Message(
    "Answer",
    "What HTTP would have answered: the result, or a problem.",
    (*map(result_type, sorted({identity_of(command) for command in commands_of(DOMAINS)})), ProblemDocument),
    {"correlation_id": "that of the command"},
    {},
)
MARKET_DATA = Message(
    "MarketData",
    "A run of quotes, trades, bars or opens of bars of one symbol, with the place of the first among all of its key.",
    (Quotes, Trades, Bars, Opens),
    {},
    {},
)
DEAD_LETTER = Message(
    "DeadLetter",
    "A message that nobody could do anything with, with the reason and without the key.",
    DeadLetter,
    {"message_id": "the letter's id", "type": "why, as a code"},
    {},
)

MESSAGES = (MARKET_DATA, EVENT, COMMAND, ANSWER, DEAD_LETTER)
CARRIED: dict[str, Sequence[Message]] = {
    MARKET: (MARKET_DATA,),
    EVENTS: (EVENT,),
    COMMANDS: (COMMAND,),
    DEAD: (DEAD_LETTER,),
}
"""By exchange."""


def asyncapi_text() -> str:
    """The document as text, which is the same each time."""
    return msgspec.json.format(msgspec.json.encode(asyncapi_document()), indent=2).decode() + "\n"


def asyncapi_document() -> Json:
    payloads, schemas = _payloads()
    declared = topology(1)
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Foldbook",
            "version": metadata.version("foldbook"),
            "description": "What goes over RabbitMQ. See docs/messaging.md.",
        },
        "defaultContentType": "application/json",
        "channels": {
            **{exchange.name: _channel(exchange) for exchange in declared.exchanges},
            "answers": {
                "address": None,
                "title": "the queue that a command names in reply_to",
                "messages": {ANSWER.name: _message_reference(ANSWER)},
            },
        },
        "operations": {
            "publishMarketData": _operation("send", MARKET, "Nothing is kept; a gap in the sequence says how many.")
            | {"bindings": _publishing(TRANSIENT, is_mandatory=False)},
            "relayEvents": _operation("send", EVENTS, "Each event at least once, in the order of its shard.")
            | {"bindings": _publishing(PERSISTENT, is_mandatory=True)},
            "takeCommands": _operation("receive", COMMANDS, "Acknowledged when the command is durable.")
            | {
                "reply": {
                    "address": {"location": "$message.header#/reply_to"},
                    "channel": {"$ref": "#/channels/answers"},
                }
            },
            "buryMessages": _operation("send", DEAD, "What cannot be done at all is kept until a person decides.")
            | {"bindings": _publishing(PERSISTENT, is_mandatory=True)},
        },
        "components": {
            "messages": {
                message.name: _message(message, payload) for message, payload in zip(MESSAGES, payloads, strict=True)
            },
            "schemas": schemas,
        },
    }


def _payloads() -> tuple[list[Json], Json]:
    """The schema of each message's payload, and those that they refer to."""
    alternatives = [each.payload if isinstance(each.payload, tuple) else (each.payload,) for each in MESSAGES]
    found, schemas = msgspec.json.schema_components(
        [one for each in alternatives for one in each], ref_template=_SCHEMA
    )
    schemas, found = _plain(schemas), _plain(list(found))
    remaining = iter(found)
    grouped = [[next(remaining) for _ in each] for each in alternatives]
    return [group[0] if len(group) == 1 else {"anyOf": group} for group in grouped], schemas


def _plain(schema: Any) -> Any:
    """A discriminator is an object in OpenAPI, and a name here."""
    if isinstance(schema, list):
        return [_plain(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    plain = {name: _plain(value) for name, value in schema.items()}
    if isinstance(plain.get("discriminator"), dict):
        plain["discriminator"] = plain["discriminator"]["propertyName"]
    return plain


def _channel(exchange: Exchange) -> Json:
    words = exchange.routing_key.lower().split(".") if exchange.routing_key != DEAD else ()
    return {
        "address": ".".join(f"{{{word}}}" for word in words) or exchange.routing_key,
        "title": exchange.name,
        "description": exchange.carries,
        "parameters": {word: {"description": f"The {word}, a word of the routing key."} for word in words},
        "messages": {message.name: _message_reference(message) for message in CARRIED[exchange.name]},
        "bindings": {
            "amqp": {
                "is": "routingKey",
                "exchange": {
                    "name": exchange.name,
                    "type": exchange.type,
                    "durable": True,
                    "autoDelete": False,
                    "vhost": "/",
                },
                "bindingVersion": BINDING_VERSION,
            }
        },
    }


def _operation(action: str, channel: str, summary: str) -> Json:
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{channel}"},
        "summary": summary,
        "messages": [{"$ref": f"#/channels/{channel}/messages/{message.name}"} for message in CARRIED[channel]],
    }


def _publishing(delivery_mode: int, *, is_mandatory: bool) -> Json:
    return {"amqp": {"deliveryMode": delivery_mode, "mandatory": is_mandatory, "bindingVersion": BINDING_VERSION}}


def _message(message: Message, payload: Json) -> Json:
    return {
        "name": message.name,
        "summary": message.summary,
        "description": "\n".join(f"- `{name}`: {says}" for name, says in message.properties.items()),
        "contentType": "application/json",
        "headers": {
            "type": "object",
            "properties": {name: {"description": says} for name, says in message.headers.items()},
        },
        "payload": payload,
        "bindings": {"amqp": {"messageType": message.name, "bindingVersion": BINDING_VERSION}},
    }


def _message_reference(message: Message) -> Json:
    return {"$ref": f"#/components/messages/{message.name}"}
