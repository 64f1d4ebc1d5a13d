"""The address that the API listens on, checked before anything is started for it."""

from __future__ import annotations

import contextlib
import errno
import socket

import psutil

from foldbook.config import Settings
from foldbook.errors import FoldbookError


class AddressError(FoldbookError, code="address", title="The API cannot listen on its address"):
    """The API cannot listen on the host or the port; the text says why, and names the port's holder if it can."""


def check_address(settings: Settings) -> None:
    """Raises :class:`AddressError` if the API could not listen on the settings' host and port."""
    _check(settings.host, settings.port, "set FOLDBOOK_HOST and FOLDBOOK_PORT to a free address")


def check_venue_address(settings: Settings) -> None:
    """Likewise for the simulated venue."""
    _check("127.0.0.1", settings.port_of_venue, "set FOLDBOOK_VENUE_PORT to a free port for the simulated venue")


def _check(host: str, port: int, advice: str) -> None:
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        socket.create_server(address[:2], family=family).close()
    except OSError as error:
        reason = error.strerror
        if error.errno == errno.EADDRINUSE:
            holder = _holder(port)
            reason = "it is in use" + (f" by {holder}" if holder else "")
        raise AddressError(f"can't listen on {host} port {port} ({reason}): {advice}") from error


def _holder(port: int) -> str:
    """The process that listens on ``port``; empty if this user may not see it."""
    with contextlib.suppress(psutil.Error, OSError):
        for connection in psutil.net_connections("tcp"):
            is_holder = connection.status == psutil.CONN_LISTEN and connection.laddr[1:2] == (port,)
            if is_holder and connection.pid is not None:
                process = psutil.Process(connection.pid)
                return f"process {process.pid}, {process.name()} of user {process.username()}"
    return ""
