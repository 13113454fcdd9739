"""What a run is called, so that all that it makes can be found again, and nothing else is taken for it."""

import re
import secrets
from typing import Final, NamedTuple

PREFIX: Final = "pullahead-live-"
TAG: Final = "pullahead-live"
"""The key of the tag that a run gives to what takes tags; its value is the name of the run."""

_DIGITS: Final = 8
_OWN: Final = re.compile(rf"({re.escape(PREFIX)}[0-9a-f]{{{_DIGITS}}})(?:[-/].*)?")


class Run(NamedTuple):
    """One run of the suite, by its name: that of its stack, and the beginning of every other name."""

    name: str

    @property
    def cache_prefix(self) -> str:
        """The prefix of its pull through cache rule. ECR API reference: at most 30 characters."""
        return f"{self.name}-cache"

    def repository(self, path: str) -> str:
        """Name a repository."""
        return f"{self.name}/{path}"


def new_run() -> Run:
    """Name a run as none was named before."""
    return Run(f"{PREFIX}{secrets.token_hex(_DIGITS // 2)}")


def run_of(name: str) -> Run | None:
    """Tell which run made what has this name; None for what no run made."""
    found = _OWN.fullmatch(name)
    return Run(found[1]) if found else None
