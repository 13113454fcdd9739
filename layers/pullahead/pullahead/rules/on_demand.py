"""Which pulls are answered by mirroring what was pulled: patterns of paths and tags, and the bounds of it. Pure."""

from datetime import timedelta
from fnmatch import fnmatchcase
from typing import NamedTuple

DEFAULT_DAILY_LIMIT = 50
DEFAULT_EXPIRE_AFTER = timedelta(days=30)


class OnDemand(NamedTuple):
    """What may be demanded, how much of it a day, and for how long it is followed when nobody pulls it any more.

    A pattern is a glob of upstream paths, and where a colon follows, a glob of tags; a star spans slashes.
    """

    allow: tuple[str, ...]
    deny: tuple[str, ...] = ()
    daily_limit: int = DEFAULT_DAILY_LIMIT
    expire_after: timedelta = DEFAULT_EXPIRE_AFTER

    def allows(self, path: str, tag: str) -> bool:
        """Tell whether a tag of a path may be demanded: allowed by some pattern, and denied by none."""
        return any(_fits(glob, path, tag) for glob in self.allow) and not any(
            _fits(glob, path, tag) for glob in self.deny
        )


def _fits(pattern: str, path: str, tag: str) -> bool:
    of_path, colon, of_tag = pattern.partition(":")
    return fnmatchcase(path, of_path) and (not colon or fnmatchcase(tag, of_tag))
