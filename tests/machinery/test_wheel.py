"""An installed wheel is whole: it carries sql/ and alembic/ and works far from the checkout."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from foldbook.engine.welcome import FIRST_ORDER
from foldbook.market.sample import FILES as SAMPLE_FILES

TOOLS = {"test", "dev", "bench"}
CHECKOUT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel's content, as an installation would have it."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(CHECKOUT)]
    done = subprocess.run(build, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def test_it_asks_for_everything_it_imports() -> None:
    trees = [ast.parse(path.read_text()) for path in (CHECKOUT / "app").rglob("*.py")]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    imported = {alias.name.split(".")[0] for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module.split(".")[0] for node in nodes if isinstance(node, ast.ImportFrom) and node.module}
    foreign = imported - sys.stdlib_module_names - {"foldbook"}
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    needed = [*project["dependencies"], *(one for extra in extras.keys() - TOOLS for one in extras[extra])]
    asked_for = {re.split(r"[^\w-]", one)[0].lower() for one in needed}
    distributions = packages_distributions()
    assert {distributions.get(name, [name])[0].lower().replace("_", "-") for name in foreign} <= asked_for


def run(installed: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """``foldbook`` from the wheel, in a folder that has nothing of ours."""
    return subprocess.run(
        [sys.executable, "-P", "-m", "foldbook.cli", *arguments],
        cwd="/",
        env=os.environ | {"PYTHONPATH": str(installed)} | variables,
        capture_output=True,
        text=True,
    )


def test_it_carries_what_is_not_python(installed: Path) -> None:
    there = {
        path.relative_to(CHECKOUT)
        for folder in ("sql", "alembic")
        for path in (CHECKOUT / folder).rglob("*")
        if path.suffix in (".sql", ".py")
    }
    resources = installed / "foldbook" / "_resources"
    carried = {path.relative_to(resources) for path in resources.rglob("*.*")}
    assert there
    assert there <= carried
    for path in (FIRST_ORDER, *SAMPLE_FILES):
        assert (installed / "foldbook" / path.relative_to(CHECKOUT / "app" / "foldbook")).exists()


def test_it_migrates_a_database(installed: Path, empty_database: str) -> None:
    done = run(installed, "migrate", DATABASE_URL=empty_database)
    assert (done.returncode, done.stdout, done.stderr) == (0, "migrated\n", "")

    report = json.loads(run(installed, "doctor", "--json", DATABASE_URL=empty_database).stdout)
    assert report["program"]["sql and migrations"] == str(installed / "foldbook" / "_resources")
    assert report["database"]["migrated"] is True
