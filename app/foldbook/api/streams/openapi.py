"""The streams' part of the OpenAPI document. It has no words for frames, so the description says what they are."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from foldbook.api.problems import answers_in_openapi
from foldbook.api.queries.parameters import HASH_PATTERN
from foldbook.api.streams import events, market, server_sent
from foldbook.trading.values import ACCOUNT_PATTERN

Json = dict[str, Any]


def stream_paths(event_types: Collection[str]) -> Json:
    """``event_types``: the names of all types of events."""
    of_type = _parameter("type", "Only events of this type.", {"enum": sorted(event_types)})
    following = {**_EVENTS, "parameters": [*_EVENTS["parameters"], of_type]}
    return {events.PATH: {"get": following}, market.PATH: {"get": _MARKET}}


def _parameter(name: str, description: str, schema: Json, where: str = "query") -> Json:
    return {
        "name": name,
        "in": where,
        "required": False,
        "description": description,
        "schema": {"type": "string", **schema},
    }


_EVENTS: Json = {
    "tags": ["streams"],
    "summary": "FollowEvents",
    "operationId": "StreamEventsFollowEvents",
    "description": (
        "The events of a shard as they are appended, as server-sent events: first those of the past, then `caught-up`, "
        "once, then those that come. `event` is the type, `data` the document that `GET /events` shows, `id` "
        "`<shard>:<position>`. The first event is `log`: which log it is, and which commit was read last.\n\n"
        "A key that does not have every account sees the events of those that it has. A client that does not read is "
        "disconnected, and can resume after the last id."
    ),
    "parameters": [
        _parameter(
            "after",
            "Where to begin: the id of an event, `<shard>:0` for the beginning, or `now`. By default the beginning of "
            "shard 0, or of the account's shard.",
            {"pattern": f"^({events.AFTER_PATTERN})?$", "examples": ["0:0", "now"]},
        ),
        _parameter("account", "Only the events of this account.", {"pattern": ACCOUNT_PATTERN}),
        _parameter(
            "hash",
            "The hash of the commit that wrote the position in `after`, as `sealed` or `GET /events` told it: "
            "409 if the log has another, as after a failover to a replica that lagged behind.",
            {"pattern": f"^{HASH_PATTERN}$"},
        ),
        _parameter(
            "seals",
            "Whether to send `sealed` messages: which commit wrote the last of the events before.",
            {"enum": ["true", "false"], "default": "false"},
        ),
        _parameter(
            "Last-Event-ID",
            "Wins over `after`: browsers send it when they connect again.",
            {"pattern": f"^({events.AFTER_PATTERN})?$"},
            "header",
        ),
    ],
    "responses": {
        "200": {
            "description": "The stream, without end",
            "content": {server_sent.MEDIA_TYPE: {}},
        },
        **answers_in_openapi(events.PROBLEMS),
    },
}

_MARKET: Json = {
    "tags": ["streams"],
    "summary": "FollowMarket",
    "operationId": "StreamMarketFollowMarket",
    "description": (
        "Quotes, trades, opens and bars over WebSocket. Each frame is a JSON object with a `kind`: first `HELLO`, then "
        "the last `QUOTE` of each symbol, then `QUOTE`, `TRADE`, `OPEN` and `BAR` as they come.\n\n"
        "A client that is too slow keeps the latest quotes, and is told how many data it missed: "
        '`{"kind": "LOST", "count": 3}`. `LOST` without `count`: the source was away.'
    ),
    "parameters": [
        _parameter("symbols", "Only these symbols, separated by commas.", {"examples": ["BTC/USDT,ETH/USDT"]}),
    ],
    "responses": {
        "101": {"description": "The WebSocket"},
        **answers_in_openapi((*market.PROBLEMS, "upgrade-required")),
    },
}
