"""``foldbook relay``: the events of the log, out to RabbitMQ."""

from __future__ import annotations

from foldbook.cli.lifetime import end_with_stdin, run, start_logging, wait_for_stop
from foldbook.cli.terminal import UntilStdinCloses, amqp_url, read_settings, warn_of_unknown_variables


def relay(until_stdin_closes: UntilStdinCloses = False) -> None:
    """Publish the events of the log to RabbitMQ.

    In order, each at least once, none left out. A second relay waits until the first has ended, and then takes over.
    FOLDBOOK_AMQP_URL says where RabbitMQ is.
    """
    import uvloop

    from foldbook.engine.database import require_log
    from foldbook.engine.relay import relay as run_relay

    settings = read_settings()
    amqp_url(settings)
    if until_stdin_closes:
        end_with_stdin()
    else:
        warn_of_unknown_variables()
        require_log(settings)
    start_logging(settings)
    run(run_relay(settings, wait_for_stop()), uvloop.new_event_loop)
