"""Which of an account's orders a client order id is, as far as they are remembered."""

from __future__ import annotations

from collections import OrderedDict

from foldbook.brokers.port import Capabilities, client_order_id
from foldbook.trading.order import Order

CLOSED_MAX = 2_000
"""Closed orders of one account whose ids are remembered, for reports that come late."""


class ClientIds:
    """The client order ids of the open orders of one account, and of those that have closed last."""

    def __init__(self, account: str, capabilities: Capabilities) -> None:
        self._account = account
        self._capabilities = capabilities
        self._orders: dict[str, str] = {}
        self._of_open: dict[str, list[str]] = {}
        self._of_closed: OrderedDict[str, list[str]] = OrderedDict()

    def __getitem__(self, client_id: str) -> str | None:
        """The order's id; None: it is not one of those."""
        return self._orders.get(client_id)

    def of(self, order_id: str, leg: int) -> str:
        return client_order_id(self._account, order_id, leg, self._capabilities)

    def open(self, order: Order) -> None:
        """The order is open, with so many legs."""
        order_id = order.created.order_id
        known = self._of_open.get(order_id)
        if known is None:
            known = self._of_open[order_id] = self._of_closed.pop(order_id, [])
        for leg in range(len(known) + 1, order.leg + 1):
            client_id = self.of(order_id, leg)
            self._orders[client_id] = order_id
            known.append(client_id)

    def close(self, order_id: str) -> None:
        known = self._of_open.pop(order_id, None)
        if known is None:
            return
        self._of_closed[order_id] = known
        if len(self._of_closed) > CLOSED_MAX:
            _, forgotten = self._of_closed.popitem(last=False)
            for client_id in forgotten:
                del self._orders[client_id]
