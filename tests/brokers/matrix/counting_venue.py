"""``python -m tests.brokers.matrix.counting_venue``: ``foldbook venue``, which remembers the requests that reach it.

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
    """The application, which is told of each order, cancel and replace once it is there whole."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._requests: defaultdict[str, list[str]] = defaultdict(list)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == "/requests":
            account = parse_qs(scope["query_string"].decode())["account"][0]
            headers = [(b"content-type", b"application/json")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": msgspec.json.encode(self._requests[account])})
        elif scope["type"] == "http" and scope["method"] == "POST" and scope["path"].startswith("/orders"):
            await self._app(scope, await self._counted(scope["path"], receive), send)
        else:
            await self._app(scope, receive, send)

    async def _counted(self, path: str, receive: Receive) -> Receive:
        """What was received, to be received again."""
        messages: list[Message] = []
        body = b""
        while True:
            message = await receive()
            messages.append(message)
            if message["type"] != "http.request":
                break
            body += message["body"]
            if not message.get("more_body"):
                asked = msgspec.json.decode(body)
                what = f"submit {asked['client_order_id']}" if path == "/orders" else path.removeprefix("/orders/")
                self._requests[asked["account"]].append(what)
                break

        async def again() -> Message:
            return messages.pop(0) if messages else await receive()

        return again


_create_server = application.create_server


def _counting_server(*arguments: Any) -> Any:
    server = _create_server(*arguments)
    server.config.app = Counting(server.config.app)  # type: ignore[arg-type]
    return server


if __name__ == "__main__":
    vars(application)["create_server"] = _counting_server
    main()
