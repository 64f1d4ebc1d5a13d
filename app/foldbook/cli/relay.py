"""``foldbook relay``: the events of the log, out to RabbitMQ."""

from __future__ import annotations

from foldbook.cli.lifetime import begin, run, wait_for_stop
from foldbook.cli.terminal import UntilStdinCloses, amqp_url, read_settings


def relay(until_stdin_closes: UntilStdinCloses = False) -> None:
    """Publish the events of the log to RabbitMQ.

    In order, each at least once, none left out. A second relay waits until the first has ended, and then takes over.
    FOLDBOOK_AMQP_URL says where RabbitMQ is.
    """
    import uvloop

    from foldbook.engine.relay import relay as run_relay

    settings = read_settings()
    amqp_url(settings)
    begin(settings, until_stdin_closes=until_stdin_closes, needs_log=True)
    run(run_relay(settings, wait_for_stop()), uvloop.new_event_loop)
