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
    try:
        family, *_, address = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0]
        socket.create_server(address[:2], family=family).close()
    except OSError as error:
        reason = error.strerror
        if error.errno == errno.EADDRINUSE:
            holder = _holder(settings.port)
            reason = "it is in use" + (f" by {holder}" if holder else "")
        raise AddressError(
            f"can't listen on {settings.host} port {settings.port} ({reason}): "
            "set FOLDBOOK_HOST and FOLDBOOK_PORT to a free address"
        ) from error


def _holder(port: int) -> str:
    """The process that listens on ``port``; empty if this user may not see it."""
    with contextlib.suppress(psutil.Error, OSError):
        for connection in psutil.net_connections("tcp"):
            is_holder = connection.status == psutil.CONN_LISTEN and connection.laddr[1:2] == (port,)
            if is_holder and connection.pid is not None:
                process = psutil.Process(connection.pid)
                return f"process {process.pid}, {process.name()} of user {process.username()}"
    return ""
