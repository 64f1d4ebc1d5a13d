"""Where a gateway is caught: the named step of a named request, at which its process kills or stops itself."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from foldbook.eventstore.events import Event
from foldbook.trading.events import OrderCancelSubmitted, OrderReplaceSubmitted, OrderSubmitted

ATTEMPTS = (OrderSubmitted, OrderCancelSubmitted, OrderReplaceSubmitted)


class Step(StrEnum):
    BEFORE_ATTEMPT = "before the attempt commits"
    AFTER_ATTEMPT = "after the attempt has committed"
    DURING_SEND = "during the send"
    """The request is on the wire, and no answer was read."""
    AFTER_ACK = "after the answer"
    """It was read, and nothing of it was recorded."""
    BEFORE_COMMIT = "before the commit of the answer"
    RECONCILING = "during reconciliation"
    """After the fills, before the open orders."""


class Request(StrEnum):
    """What is asked for. At a venue that replaces nothing, a replace is two requests."""

    SUBMIT = "submit"
    CANCEL = "cancel"
    REPLACE = "replace"
    CANCEL_OF_LEG = "replace: cancel of the old leg"
    NEW_LEG = "replace: the new leg"

    def is_attempted_by(self, event: Event) -> bool:
        match self:
            case Request.SUBMIT:
                return isinstance(event, OrderSubmitted)
            case Request.CANCEL:
                return isinstance(event, OrderCancelSubmitted)
            case Request.NEW_LEG:
                return isinstance(event, OrderReplaceSubmitted) and event.leg is not None
            case _:
                return isinstance(event, OrderReplaceSubmitted) and event.leg is None


class Catch(StrEnum):
    """Signals, by their names."""

    KILL = "SIGKILL"
    STOP = "SIGSTOP"


class Trap(msgspec.Struct, frozen=True, kw_only=True):
    account: str
    step: Step
    request: Request
    catch: Catch = Catch.KILL


class Told(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a gateway of the tests is told: to be caught, or to say how far it is."""

    trap: Trap | None = None
    account: str | None = None


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """What it answers. ``sequence``: how far the account's events were heard."""

    is_working: bool
    is_idle: bool
    sequence: int


class Start(msgspec.Struct, frozen=True, kw_only=True):
    """How a gateway is started. ``control``: the path of the socket on which it listens to the test."""

    dsn: str
    venue_url: str
    control: str
    holder: str
    term_s: float
    send_s: float
    settle_s: float
    trap: Trap | None = None
