"""A data folder in which somebody else could lead this program astray is refused before anything is touched."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from foldbook.postgres.data_folder import (
    UnsafeFolder,
    check_data_folder,
    make_data_folder,
    open_own,
    read_plain,
    write_private,
)
from foldbook.postgres.embedded import EmbeddedPostgres
from tests.leaving_out import leave_out
from tests.machinery.cli import foldbook

NOBODY = 65534


def as_root() -> None:
    if os.geteuid() != 0:
        leave_out("needs root, who can give a folder to another user", can_be_had=False)


def facts(folder: Path) -> dict[str, tuple[int, ...]]:
    """Of everything below: what it is, whose, and when it was changed last."""
    found = [folder, *folder.rglob("*")]
    return {
        str(path): (each.st_mode, each.st_uid, each.st_ino, each.st_size, each.st_mtime_ns, each.st_ctime_ns)
        for path in found
        for each in (path.lstat(),)
    }


def link(path: Path) -> None:
    path.symlink_to(path.parent.parent / "elsewhere")


def hard_link(path: Path) -> None:
    path.hardlink_to(path.parent.parent / "elsewhere" / "file")


def pipe(path: Path) -> None:
    os.mkfifo(path)


def folder(path: Path) -> None:
    path.mkdir()


FILES = ("pgpass", "pgpass.foldbook_engine", "operator.key", "operator.key.new", "anchor.key", "anchor.key.pub")
LOCKS = ("postgres.start.log", "foldbook.lock")


@pytest.mark.parametrize("put", [link, hard_link, pipe, folder])
@pytest.mark.parametrize("name", [*FILES, *LOCKS, "postgres", "postgres.new-x", "venue"])
def test_what_is_no_file_or_folder_of_its_own_is_refused(
    name: str, put: Callable[[Path], None], tmp_path: Path
) -> None:
    if put is folder and name in ("postgres", "postgres.new-x", "venue"):
        put = pipe
    data, elsewhere = tmp_path / "data", tmp_path / "elsewhere"
    data.mkdir(mode=0o700)
    elsewhere.mkdir()
    (elsewhere / "file").write_text("precious")
    put(data / name)
    before = facts(tmp_path)
    with pytest.raises(UnsafeFolder, match=f"{name} is not a f"):
        check_data_folder(data)
    with pytest.raises(UnsafeFolder):
        EmbeddedPostgres(data).start()
    assert facts(tmp_path) == before


@pytest.mark.parametrize("name", ["", "pgpass", "operator.key", "foldbook.lock", "anchor.key"])
def test_what_belongs_to_somebody_else_is_refused(name: str, tmp_path: Path) -> None:
    as_root()
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    if name:
        (data / name).touch(mode=0o600)
    os.chown(data / name, NOBODY, NOBODY)
    with pytest.raises(UnsafeFolder, match="belongs to user"):
        check_data_folder(data)


def test_only_the_server_s_user_may_own_files_in_root_s_folder(tmp_path: Path) -> None:
    as_root()
    data = tmp_path / "data"
    (data / "postgres").mkdir(parents=True)
    (data / "pgpass.foldbook_engine").touch(mode=0o600)
    os.chown(data / "postgres", NOBODY, NOBODY)
    os.chown(data / "pgpass.foldbook_engine", NOBODY, NOBODY)
    check_data_folder(data)
    os.chown(data / "pgpass.foldbook_engine", 1, 1)
    with pytest.raises(UnsafeFolder, match="belongs to user"):
        check_data_folder(data)


@pytest.mark.parametrize("mode", [0o777, 0o757, 0o1777])
def test_a_data_folder_that_others_can_write_to_is_refused(mode: int, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    data.chmod(mode)
    with pytest.raises(UnsafeFolder, match=r"chmod go-w"):
        check_data_folder(data)


def test_so_is_one_below_a_folder_that_others_can_write_to(tmp_path: Path) -> None:
    above = tmp_path / "above"
    (above / "data").mkdir(parents=True)
    above.chmod(0o777)
    for data in (above / "data", above / "not yet"):
        with pytest.raises(UnsafeFolder, match="above can be written by others"):
            make_data_folder(data)
    assert not (above / "not yet").exists()
    above.chmod(0o1777)
    check_data_folder(above / "data")


def test_so_is_one_below_somebody_else_s_folder_or_link(tmp_path: Path, open_folder: Path) -> None:
    as_root()
    (tmp_path / "data").mkdir()
    theirs = open_folder / "theirs"
    (theirs / "data").mkdir(parents=True)
    os.chown(theirs, NOBODY, NOBODY)
    with pytest.raises(UnsafeFolder, match="theirs belongs to user"):
        check_data_folder(theirs / "data")
    (open_folder / "link").symlink_to(tmp_path / "data")
    check_data_folder(open_folder / "link")
    os.chown(open_folder / "link", NOBODY, NOBODY, follow_symlinks=False)
    with pytest.raises(UnsafeFolder, match="is a symbolic link of user"):
        check_data_folder(open_folder / "link")


def test_a_new_folder_is_nobody_else_s_whatever_the_umask_says(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        make_data_folder(tmp_path / "a" / "b" / "data")
    finally:
        os.umask(before)
    for made in (tmp_path / "a", tmp_path / "a" / "b", tmp_path / "a" / "b" / "data"):
        assert stat.S_IMODE(made.stat().st_mode) & 0o022 == 0


@pytest.mark.parametrize("mode", ["w", "a+", "xb"])
def test_a_file_is_opened_only_if_it_is_this_user_s_and_no_link(mode: str, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("precious")
    for put in (Path.symlink_to, Path.hardlink_to):
        path = tmp_path / put.__name__
        put(path, precious)
        with pytest.raises((UnsafeFolder, FileExistsError)):
            open_own(path, mode)
    pipe(tmp_path / "pipe")
    with pytest.raises((UnsafeFolder, FileExistsError)):
        open_own(tmp_path / "pipe", mode)
    assert precious.read_text() == "precious"
    open_own(tmp_path / "new", mode).close()
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o600


def test_a_secret_replaces_a_link_and_does_not_follow_it(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("precious")
    (tmp_path / "secret").symlink_to(tmp_path / "elsewhere")
    write_private(tmp_path / "secret", "mine")
    assert ((tmp_path / "elsewhere").read_text(), (tmp_path / "secret").read_text()) == ("precious", "mine")
    assert not (tmp_path / "secret").is_symlink()


def test_reading_waits_for_no_pipe(tmp_path: Path) -> None:
    pipe(tmp_path / "pipe")
    with pytest.raises(OSError, match="is not a file"):
        read_plain(tmp_path / "pipe")


COMMANDS = [["up"], ["doctor"], ["psql", "-c", "select 1"], ["pg_dump"], ["keys", "list"], ["audit", "anchor"]]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_no_command_touches_another_user_s_cluster(command: list[str], tmp_path: Path, open_folder: Path) -> None:
    """A victim's cluster, and in somebody else's folder a link to it in the place of ``postgres``."""
    victim, folder = tmp_path / "victim", open_folder / "folder"
    (victim / "postgres").mkdir(parents=True)
    (victim / "postgres" / "PG_VERSION").write_text("18\n")
    (victim / "postgres" / "postmaster.pid").write_text("1\n")
    folder.mkdir()
    (folder / "postgres").symlink_to(victim / "postgres")
    if os.geteuid() == 0:
        os.chown(folder, NOBODY, NOBODY)
    before = facts(victim) | facts(open_folder)
    done = foldbook(*command, FOLDBOOK_DATA_DIR=str(folder), DATABASE_URL="")
    assert (done.returncode, done.stdout) == (1, "")
    assert f"foldbook: {folder}" in done.stderr
    assert "Nothing was touched" in done.stderr
    assert facts(victim) | facts(open_folder) == before
