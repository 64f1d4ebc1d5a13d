"""``python -m tests.brokers.matrix.counting_venue``: ``foldbook venue``, which remembers the requests of its sessions.

``GET /requests?account=`` lists them as they came, before any fault: what was lost later did come.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import MutableMapping
from typing import Any
from urllib.parse import parse_qs

import msgspec

from foldbook.cli.main import main
from foldbook.venue.server import application
from foldbook.venue.server.faults import App, Message, Receive, Send


class Counting:
    """The application, which is told of each order, cancel and replace once it is there."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._requests: defaultdict[str, list[str]] = defaultdict(list)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == "/requests":
            account = parse_qs(scope["query_string"].decode())["account"][0]
            headers = [(b"content-type", b"application/json")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": msgspec.json.encode(self._requests[account])})
        elif scope["type"] == "websocket" and scope["path"] == "/orders":
            await self._app(scope, self._counted(receive), send)
        else:
            await self._app(scope, receive, send)

    def _counted(self, receive: Receive) -> Receive:
        async def receive_and_count() -> Message:
            message = await receive()
            for line in (message.get("text") or "").splitlines():
                request = msgspec.json.decode(line)
                asked = request["params"]
                self._requests[asked["account"]].append(f"{request['method']} {asked['client_order_id']}")
            return message

        return receive_and_count


_create_server = application.create_server


def _counting_server(*arguments: Any) -> Any:
    server = _create_server(*arguments)
    server.config.app = Counting(server.config.app)  # type: ignore[arg-type]
    return server


if __name__ == "__main__":
    vars(application)["create_server"] = _counting_server
    main()
