"""Strategies by name: from a file, or from a module that Python can import."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

from foldbook.strategies.errors import StrategyError
from foldbook.strategies.parameters import check_names, parse
from foldbook.strategies.strategy import Strategy


def load_strategy(reference: str) -> type[Strategy]:
    """The class that ``FILE.py:CLASS`` or ``package.module:CLASS`` names. This runs the code of the file or module.

    It may import what is beside the file, or in the current folder. Raises ``StrategyError`` if there is no such class,
    it cannot be imported, or its parameters are wrong.
    """
    where, _, name = reference.rpartition(":")
    if not where or not name.isidentifier():
        raise StrategyError(f"{reference!r} names no strategy; write FILE.py:CLASS or package.module:CLASS")
    module = _module_of_file(Path(where)) if where.endswith(".py") else _module(where)
    found = getattr(module, name, None)
    if found is None:
        raise StrategyError(
            f"{where} has no class {name}; its strategies: {', '.join(_strategies_in(module)) or 'none'}"
        )
    if not inspect.isclass(found) or not issubclass(found, Strategy) or found is Strategy:
        raise StrategyError(f"{reference} is no strategy: derive a class from foldbook.strategies.Strategy")
    found.parameters()
    return found


def with_parameters(cls: type[Strategy], given: Mapping[str, str]) -> Strategy:
    """A strategy with these parameters; the others have their defaults. Raises ``StrategyError`` for an unknown name or
    a text that is no value of its type."""
    known = cls.parameters()
    check_names(cls, known, given)
    return cls(**{name: parse(cls, known[name], text) for name, text in given.items()})


def _module_of_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise StrategyError(f"there is no file {path}")
    path = path.resolve()
    # Files of the same name in two folders are two modules.
    name = f"{path.stem}_{hashlib.blake2b(str(path).encode(), digest_size=4).hexdigest()}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None, "a .py file has a loader"
    module = importlib.util.module_from_spec(spec)
    _can_import_from(path.parent)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise StrategyError(f"{path} cannot be imported: {_what(error)}") from error
    return module


def _module(name: str) -> ModuleType:
    _can_import_from(Path.cwd())
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{name}.".startswith(f"{error.name}."):
            raise StrategyError(
                f"there is no module {error.name}; a file is written with its ending, {name.replace('.', '/')}.py"
            ) from None
        raise StrategyError(f"{name} cannot be imported: {_what(error)}") from error
    except Exception as error:
        raise StrategyError(f"{name} cannot be imported: {_what(error)}") from error


def _can_import_from(folder: Path) -> None:
    """At the end, so that nothing there takes the place of an installed module."""
    if str(folder) not in sys.path:
        sys.path.append(str(folder))


def _what(error: Exception) -> str:
    place = f" (line {error.lineno})" if isinstance(error, SyntaxError) else ""
    return f"{type(error).__name__}: {error.msg if isinstance(error, SyntaxError) else error}{place}"


def _strategies_in(module: ModuleType) -> list[str]:
    return [
        name
        for name, value in vars(module).items()
        if inspect.isclass(value) and issubclass(value, Strategy) and value.__module__ == module.__name__
    ]
