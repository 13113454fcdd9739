"""Upstream tags that a payload names. Payloads are not trusted: every name is parsed."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple, TypeVar

import msgspec

from pullahead.oci import InvalidReferenceError, Reference, parse_host, parse_reference
from pullahead.oci.reference import is_tag
from pullahead.webhooks.http import WebhookRequest, bad_request

_T = TypeVar("_T", bound=msgspec.Struct)


class NamedTags(NamedTuple):
    """The upstream tags that a request names; if there are none, why it is ignored."""

    references: tuple[Reference, ...] = ()
    ignored: str = ""


def decode(request: WebhookRequest, kind: type[_T]) -> _T:
    """Decode a body. Raises RefusedWebhookError, which does not quote it."""
    try:
        return msgspec.json.decode(request.body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise bad_request("the body is not JSON in the format of this sender") from None


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


def tags_named(references: Iterable[Reference], otherwise: str) -> NamedTags:
    """Collect references, each once; `otherwise`: why there are none."""
    found = tuple(dict.fromkeys(references))
    return NamedTags(found) if found else NamedTags(ignored=otherwise)
