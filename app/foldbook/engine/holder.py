"""Who this process is, for the leases that it holds and for people who look at them."""

from __future__ import annotations

import os
import socket
from datetime import UTC, datetime

import psutil


def this_process() -> str:
    started_at = datetime.fromtimestamp(psutil.Process().create_time(), UTC).isoformat(timespec="seconds")
    return f"process {os.getpid()} on {socket.gethostname()}, started {started_at}"
