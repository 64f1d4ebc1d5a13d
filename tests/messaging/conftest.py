"""One RabbitMQ for all tests of a session, and a virtual host of its own for each test that asks for a URL."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from foldbook.engine.rabbit import rabbitmq_server
from tests.leaving_out import leave_out
from tests.messaging.rabbit import Rabbit, rabbit


@pytest.fixture(scope="session")
def rabbitmq() -> Iterator[Rabbit]:
    """A broker that tests may kill and alarm, if they leave it running and without alarms."""
    program = rabbitmq_server()
    if program is None:
        leave_out("needs a RabbitMQ: install rabbitmq-server, or set RABBITMQ_SERVER to the program that starts it")
    with rabbit(program) as broker:
        yield broker


@pytest.fixture
def amqp_url(rabbitmq: Rabbit) -> str:
    """The URL of an empty virtual host."""
    if not rabbitmq.is_running:  # A test that kills it has failed.
        rabbitmq.start()
    return rabbitmq.virtual_host()
