"""``foldbook intake``: commands from RabbitMQ into the log."""

from __future__ import annotations

import gc

from foldbook.cli.lifetime import begin, run, wait_for_stop
from foldbook.cli.terminal import UntilStdinCloses, amqp_url, read_settings

YOUNG_MAX = 50_000
"""Young objects at which Python looks for cycles among them. Its own 700 are fewer than the commands under way have, so
that they would be looked at again and again, in vain: that took a fifth of the time."""


def intake(until_stdin_closes: UntilStdinCloses = False) -> None:
    """Take commands from RabbitMQ, and answer them.

    A command is acknowledged when it is in the log. Several intakes share the work. FOLDBOOK_AMQP_URL says where
    RabbitMQ is.
    """
    import uvloop

    from foldbook.engine.intake import take_commands

    settings = read_settings()
    amqp_url(settings)
    begin(settings, until_stdin_closes=until_stdin_closes, needs_log=True)
    gc.set_threshold(YOUNG_MAX, *gc.get_threshold()[1:])
    run(take_commands(settings, wait_for_stop()), uvloop.new_event_loop)
