"""The one door to moto's private names: what is taken hold of must be there, in the version that it was written for.

moto has no interface for what `local.aws` adds, so some of its names are replaced. A new version of moto must fail
here, at start, and not as a silently missing behaviour.
"""

from importlib import import_module
from importlib.metadata import version
from typing import Any, Final

PINNED_MOTO: Final = "5.2.5"
_ABSENT: Final = object()
_STOCK: Final[dict[tuple[str, str], Any]] = {}


class UnsupportedMotoError(RuntimeError):
    """The installed moto is not the one that the local AWS was written for."""


def check_version() -> None:
    """Refuse any moto but the pinned one.

    Raises:
        UnsupportedMotoError: another version is installed.
    """
    installed = version("moto")
    if installed != PINNED_MOTO:
        raise UnsupportedMotoError(
            f"the local AWS is written for moto {PINNED_MOTO}, and moto {installed} is installed"
        )


def take(module: str, path: str) -> Any:
    """Return what `path` names inside a module of moto.

    Raises:
        UnsupportedMotoError: there is no such name.
    """
    try:
        found: Any = import_module(module)
    except ImportError as error:
        raise UnsupportedMotoError(f"moto {PINNED_MOTO} has a module {module}; this one has not") from error
    for name in path.split("."):
        found = getattr(found, name, _ABSENT)
        if found is _ABSENT:
            raise UnsupportedMotoError(f"moto {PINNED_MOTO} has {module}.{path}; this one has not")
    return found


def stock(module: str, path: str) -> Any:
    """Return moto's own thing, even when it was replaced since, by this local AWS or by an earlier one.

    Raises:
        UnsupportedMotoError: there is no such name.
    """
    return _STOCK.setdefault((module, path), take(module, path))


def replace(module: str, path: str, replacement: Any) -> None:
    """Put our own thing in place of one of moto's.

    Raises:
        UnsupportedMotoError: there is nothing to replace.
    """
    stock(module, path)
    owner_path, _, name = path.rpartition(".")
    owner = take(module, owner_path) if owner_path else import_module(module)
    setattr(owner, name, replacement)


def restore() -> None:
    """Give moto back everything of its own, so that what runs next in this process finds moto as it comes."""
    for (module, path), thing in _STOCK.items():
        owner_path, _, name = path.rpartition(".")
        setattr(take(module, owner_path) if owner_path else import_module(module), name, thing)
