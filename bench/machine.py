"""The machine and the settings that a run's figures belong to."""

from __future__ import annotations

import os
import platform
import time
from importlib import metadata
from pathlib import Path
from statistics import quantiles

import psutil
import psycopg

from bench.arena import Arena

_FSYNCS = 300
_BLOCK = bytes(8192)

_SHOWN = (
    "server_version",
    "fsync",
    "synchronous_commit",
    "full_page_writes",
    "wal_sync_method",
    "shared_buffers",
    "max_wal_size",
    "checkpoint_timeout",
    "wal_compression",
    "autovacuum",
    "jit",
)


def describe_machine(folder: Path) -> dict[str, str]:
    """Processor, memory, kernel, and the disk below ``folder``."""
    return {
        "cpu": _cpu_model(),
        "cores": str(os.cpu_count()),
        "memory": f"{psutil.virtual_memory().total / 2**30:.1f} GiB",
        "kernel": platform.release(),
        "filesystem": _filesystem(folder),
        "fdatasync of 8 KiB": _sync_latency(folder),
        "200,000 additions in Python": _speed(),
        "load before": ", ".join(f"{load:.2f}" for load in os.getloadavg()),
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in ("asyncpg", "uvloop", "msgspec", "litestar", "eventsourcing")},
    }


def describe_settings(place: Arena) -> dict[str, str]:
    """The server's settings as a session of the product's role sees them. Raises unless they are durable."""
    with psycopg.connect(place.dsn) as connection:
        settings: dict[str, str] = dict(
            connection.execute("select name, current_setting(name) from pg_settings").fetchall()
        )
    for name in ("fsync", "synchronous_commit", "full_page_writes"):
        if settings[name] != "on":
            raise RuntimeError(f"{name} is {settings[name]}: nothing measured here would be durable")
    return {name: settings[name] for name in _SHOWN}


def _speed() -> str:
    """How fast the processor is at the moment: on a shared machine that changes from minute to minute."""
    times_ms: list[float] = []
    for _ in range(9):
        began_ns, total = time.process_time_ns(), 0
        for number in range(200_000):
            total += number
        times_ms.append((time.process_time_ns() - began_ns) / 1e6)
    return f"{min(times_ms):.1f} to {max(times_ms):.1f} ms"


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _filesystem(folder: Path) -> str:
    """Raises if the folder is not on a disk: an fsync that costs nothing would falsify every figure."""
    mounts = [p for p in psutil.disk_partitions(all=True) if folder.is_relative_to(p.mountpoint)]
    kind = max(mounts, key=lambda mount: len(mount.mountpoint)).fstype
    if kind in ("tmpfs", "ramfs"):
        raise RuntimeError(f"the temporary folder is on {kind}: set TMPDIR to a folder on a disk")
    return kind


def _sync_latency(folder: Path) -> str:
    """What PostgreSQL does at a commit, by itself: write one page and fdatasync it."""
    path = folder / "fdatasync.probe"
    taken_us = []
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        for page in range(_FSYNCS):
            started = time.perf_counter()
            os.pwrite(descriptor, _BLOCK, (page % 64) * len(_BLOCK))
            os.fdatasync(descriptor)
            taken_us.append((time.perf_counter() - started) * 1e6)
    finally:
        os.close(descriptor)
        path.unlink()
    percentiles = quantiles(taken_us[64:], n=100)
    return f"p50 {percentiles[49]:.0f} us, p99 {percentiles[98]:.0f} us"
