"""Cut lists into pages with opaque tokens. Refuses to know what the items are.

A token names the key of the last item given, so that items that come or go meanwhile do not shift the pages.
"""

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

from local.ecr.errors import invalid_parameter

Item = TypeVar("Item")


class Page(NamedTuple):
    """Some items and the token for the next ones, as members of an answer."""

    items: Sequence[Any]
    token: dict[str, str]


def page_of(items: Sequence[Item], key: Callable[[Item], str], size: int, token: str | None) -> Page:
    """Give the items after the token; they must be sorted by their key.

    Raises:
        EcrError: InvalidParameterException for a token that we did not give.
    """
    after = _decoded(token)
    rest = [item for item in items if after is None or key(item) > after]
    if len(rest) <= size:
        return Page(rest, {})
    return Page(rest[:size], {"nextToken": base64.urlsafe_b64encode(key(rest[size - 1]).encode()).decode()})


def _decoded(token: str | None) -> str | None:
    if token is None:
        return None
    try:
        return base64.b64decode(token.encode(), altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeError) as error:
        raise invalid_parameter("The nextToken is not valid") from error
