"""Upstream tags that a payload names. Payloads are not trusted: every name is parsed.

Most senders are written in Go, which writes what it does not know as null: that is as good as absent, as Go reads it.
Of a list, what is not understood is left out: it must not keep the rest from being checked.
"""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any, NamedTuple, TypeVar

import msgspec

from pullahead.oci import InvalidReferenceError, Reference, parse_host, parse_reference
from pullahead.oci.reference import is_tag
from pullahead.webhooks.http import WebhookRequest, bad_request

_T = TypeVar("_T", bound=msgspec.Struct)


class WebhookTags(NamedTuple):
    """The upstream tags that a request names; if there are none, why it is ignored."""

    references: tuple[Reference, ...] = ()
    ignored: str = ""


def decode(request: WebhookRequest, kind: type[_T]) -> _T:
    """Decode a body. Raises RefusedWebhookError, which does not quote it."""
    try:
        return msgspec.convert(_without_nulls(msgspec.json.decode(request.body)), kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise bad_request("the body is not JSON in the format of this sender") from None


def decode_each(entries: Iterable[Any], kind: type[_T]) -> Iterator[_T]:
    """Decode the entries of a list that `decode` left as they were, without those that are of another format."""
    for entry in entries:
        with suppress(msgspec.ValidationError):
            yield msgspec.convert(entry, kind)


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nulls(each) for name, each in value.items() if each is not None}
    return [_without_nulls(each) for each in value] if isinstance(value, list) else value


def upstream(host: str, path: str, tag: str) -> Reference:
    """Make the reference of a tag. Raises RefusedWebhookError if the names are invalid."""
    try:
        reference = parse_reference(f"{parse_host(host)}/{path}", default_tag=None)
    except InvalidReferenceError:
        raise bad_request("the body has no valid repository") from None
    if reference.tag is not None or reference.digest is not None or not is_tag(tag):
        raise bad_request("the body has no valid tag")
    return Reference(reference.repository, tag)


def upstream_at(address: str, tag: str) -> Reference:
    """Make the reference of a tag of a repository that is written as HOST/PATH. Raises RefusedWebhookError."""
    host, _, path = address.partition("/")
    return upstream(host, path, tag)


def hosts(*candidates: str) -> Iterator[str]:
    """Keep the candidates that are valid hosts of a reference, each once."""
    for host in dict.fromkeys(candidates):
        try:
            yield parse_host(host)
        except InvalidReferenceError:  # such as a name without a dot or with an underscore, or nothing
            continue


def host_of(url: str) -> str:
    """Find the host of a URL, with its port; "" if there is none."""
    _, scheme, rest = url.partition("://")
    return rest.partition("/")[0].rpartition("@")[2] if scheme else ""


def tags_named(references: Iterable[Reference], otherwise: str) -> WebhookTags:
    """Collect references, each once; `otherwise`: why there are none."""
    found = tuple(dict.fromkeys(references))
    return WebhookTags(found) if found else WebhookTags(ignored=otherwise)
