"""A real pgbouncer before a server, for tests of what a pooler does to sessions."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg

from foldbook.engine.rabbit import free_port
from foldbook.postgres.binaries import server_user
from foldbook.postgres.roles import OWNER
from tests.leaving_out import leave_out
from tests.waiting import block_until

CONFIGURATION = """\
[databases]
* = host=127.0.0.1 port={server_port}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = {mode}
logfile = {folder}/pgbouncer.log
pidfile = {folder}/pgbouncer.pid
max_client_conn = 200
{others}
"""


@contextmanager
def pooler(server_port: int, mode: str, user: str = OWNER, **settings: str) -> Iterator[str]:
    """A URL of the database ``foldbook`` through a pooler, whose sessions at the server are of ``user``. ``settings``:
    those of pgbouncer. Leaves the test out if this machine has none."""
    program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        leave_out("pgbouncer is not installed: apt-get install pgbouncer")
    account = server_user()
    folder = Path(tempfile.mkdtemp(prefix="foldbook-pooler-"))
    os.chown(folder, account.uid, account.gid)
    port = free_port()
    others = "\n".join(f"{name} = {value}" for name, value in settings.items())
    configuration = folder / "pgbouncer.ini"
    text = CONFIGURATION.format(server_port=server_port, port=port, mode=mode, folder=folder, others=others)
    # auth_type = any: whoever comes is this user.
    configuration.write_text(text.replace(f"port={server_port}", f"port={server_port} user={user}"))
    configuration.chmod(0o644)
    process = subprocess.Popen(
        [program, "-q", configuration],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        **account.popen_arguments(),
    )
    url = f"postgresql://{user}@127.0.0.1:{port}/foldbook"

    def answers() -> bool:
        with suppress(psycopg.OperationalError):
            psycopg.connect(url, connect_timeout=2).close()
            return True
        return process.poll() is not None

    try:
        block_until(answers)
        assert process.poll() is None, (folder / "pgbouncer.log").read_text()
        yield url
    finally:
        process.terminate()
        process.wait(30)
        shutil.rmtree(folder)
