"""The documentation is true: every command in it runs.

The fenced blocks of a page whose language is ``sh``, ``bash`` or ``sql`` run in order, in one shell, as a reader would
paste them in a checkout beside a running engine; SQL runs through ``foldbook psql`` and may only read. A note after the
language says what is different about a block: ``no-run: <reason>``, or ``exit: <code>``.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from foldbook.cli.exits import Exit
from foldbook.config import Settings
from foldbook.engine.welcome import DEFAULT_KEY_FILE, DEFAULT_URL, FIRST_ORDER
from tests.machinery.engine import Engine

CHECKOUT = Path(__file__).parents[2]
PAGES = [CHECKOUT / "README.md", CHECKOUT / "sql" / "README.md", *sorted((CHECKOUT / "docs").rglob("*.md"))]
FENCED = re.compile(r"^```(?P<language>\w*) *(?P<note>.*)\n(?P<text>(?:.*\n)*?)^```$", re.MULTILINE)
RUNNABLE = ("sh", "bash", "sql")
COMMAND = re.compile(r"^(foldbook|\.venv/bin/|make|curl|docker|psql|pg_dump|pg_restore) ", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced block. ``place``: its page and line."""

    place: str
    language: str
    note: str
    text: str

    @property
    def is_run(self) -> bool:
        return self.language in RUNNABLE and not self.note.startswith("no-run")


def blocks(page: Path) -> list[Block]:
    content = page.read_text()
    return [
        Block(
            f"{page.relative_to(CHECKOUT)}:{content.count(chr(10), 0, found.start()) + 1}",
            found["language"],
            found["note"],
            found["text"],
        )
        for found in FENCED.finditer(content)
    ]


EVERY_BLOCK = [block for page in PAGES for block in blocks(page)]
PAGES_WITH_COMMANDS = [page for page in PAGES if any(block.is_run for block in blocks(page))]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What a reader has: the files of this checkout, and an environment with ``foldbook`` in it."""
    folder = tmp_path / "checkout"
    (folder / ".venv" / "bin").mkdir(parents=True)
    for path in CHECKOUT.iterdir():
        if path.name not in (".venv", ".git"):
            (folder / path.name).symlink_to(path)
    program = folder / ".venv" / "bin" / "foldbook"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m foldbook.cli "$@"\n')
    program.chmod(0o755)
    return folder


@pytest.mark.parametrize("page", PAGES_WITH_COMMANDS, ids=lambda page: str(page.relative_to(CHECKOUT)))
def test_every_command_of_a_page_runs(page: Path, engine: Engine, checkout: Path, tmp_path: Path) -> None:
    engine.start()
    engine.place_and_read("earlier")  # so that no page relies on a log that is fresh
    failures = tmp_path / "failures"
    failures.touch()
    script = tmp_path / "page.sh"
    script.write_text(script_of(blocks(page), engine, tmp_path))
    (tmp_path / ".curlrc").write_text("fail-with-body\n")  # an answer of 400 or more is a failure
    folders = (each for each in os.environ["PATH"].split(os.pathsep) if not (Path(each) / "foldbook").exists())
    environment = engine.environment | {
        "PATH": os.pathsep.join(folders),
        "PYTHONPATH": os.pathsep.join(filter(None, (str(CHECKOUT / "app"), os.environ.get("PYTHONPATH")))),
        "CURL_HOME": str(tmp_path),
        "NO_PROXY": "127.0.0.1",
        "FAILURES": str(failures),
        "PAGER": "cat",
    }
    done = subprocess.run(
        ["/bin/bash", str(script)],
        cwd=checkout,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=240,
    )
    assert (failures.read_text(), done.returncode) == ("", 0), done.stdout


def script_of(page: list[Block], engine: Engine, folder: Path) -> str:
    """One script for a page. Each command that fails adds a line to the file ``$FAILURES``."""
    told = 'echo "$BLOCK: $BASH_COMMAND: exit code $?" >>"$FAILURES"'
    lines = []
    for number, block in enumerate(filter(lambda each: each.is_run, page)):
        text = block.text.replace(DEFAULT_URL, engine.url)
        text = text.replace(DEFAULT_KEY_FILE, shlex.quote(str(engine.data_dir / "operator.key")))
        lines.append(f'BLOCK={shlex.quote(block.place)}; echo "== $BLOCK"; trap {shlex.quote(told)} ERR')
        if block.language == "sql":
            file = folder / f"block-{number}.sql"
            file.write_text(text)
            psql = f"{folder}/checkout/.venv/bin/foldbook psql -X -q -v ON_ERROR_STOP=1"
            lines.append(f"PGOPTIONS='-c default_transaction_read_only=on' {psql} -f {file}")
        elif code := re.fullmatch(r"exit: (\d+)", block.note):
            lines += [
                "trap - ERR",
                text,
                f'CODE=$?; [ $CODE = {code[1]} ] || echo "$BLOCK: exit code $CODE" >>"$FAILURES"',
            ]
        else:
            lines.append(text)
    return "\n".join([*lines, "exit 0"])


@pytest.mark.parametrize("block", EVERY_BLOCK, ids=lambda block: block.place)
def test_a_block_says_what_it_is(block: Block) -> None:
    assert block.language in RUNNABLE or not COMMAND.search(block.text), "a command in a block of no language"
    assert re.fullmatch(r"|no-run: \S.*|exit: \d+", block.note), "neither `no-run: <reason>` nor `exit: <code>`"


def test_readme_and_the_welcome_show_the_same_first_order() -> None:
    assert f"```sh\n{FIRST_ORDER.read_text()}```\n" in (CHECKOUT / "README.md").read_text()


def test_every_exit_code_is_documented() -> None:
    rows = [f"| {code.value} | {code.meaning} |" for code in Exit]
    assert "\n".join(rows) in (CHECKOUT / "docs" / "operate.md").read_text()


def test_no_command_shows_a_key_in_the_process_list() -> None:
    for block in EVERY_BLOCK:
        assert not re.search(r"curl[^\n]*(Authorization|Bearer|fbk_)", block.text), block.place


def test_every_setting_is_documented() -> None:
    page = (CHECKOUT / "docs" / "operate.md").read_text()
    assert [name for name in Settings().describe() if f"`{name}`" not in page] == []
