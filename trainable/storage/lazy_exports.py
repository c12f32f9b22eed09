"""How a package hands out names whose modules it imports only when they are asked for."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module


def lazy_exports(
    package: str, homes: Mapping[str, str]
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """Return a package's `__getattr__`, for names that it does not hold yet, and its `__dir__`.

    A package with `__getattr__, __dir__ = lazy_exports(__name__, {...})` stays light to import,
    though its public names come from modules that need torch, Ray or pandas. Type checkers read the
    same names from imports under `TYPE_CHECKING`.

    Args:
        package: The package's `__name__`.
        homes: By public name, the dotted name of the module that defines it; a module that is
            public itself stands there under its own name.

    Source: PEP 562.
    """

    def load(name: str) -> object:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        home = import_module(homes[name])
        return home if homes[name] == f"{package}.{name}" else getattr(home, name)

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *homes})

    return load, names
