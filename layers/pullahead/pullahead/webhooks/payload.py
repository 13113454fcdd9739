"""What a payload names: upstream tags, or nothing that concerns us. Bodies are never trusted: names are parsed."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple, TypeVar

import msgspec

from pullahead.oci import InvalidReferenceError, Reference, parse_host, parse_reference
from pullahead.oci.reference import is_tag
from pullahead.webhooks.http import WebhookRequest, bad_request

_T = TypeVar("_T", bound=msgspec.Struct)


class NamedTags(NamedTuple):
    """The upstream tags that a call names; where there are none, why it is of no interest."""

    references: tuple[Reference, ...] = ()
    ignored: str = ""


def decode(call: WebhookRequest, kind: type[_T]) -> _T:
    """Read a body. Raises RefusedCallError, which quotes nothing of it."""
    try:
        return msgspec.json.decode(call.body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise bad_request("the body is no JSON of the form that this sender sends") from None


def upstream(host: str, path: str, tag: str) -> Reference:
    """Name a tag of a repository at a host. Raises RefusedCallError where they are no names."""
    try:
        reference = parse_reference(f"{parse_host(host)}/{path}", default_tag=None)
    except InvalidReferenceError:
        raise bad_request("the body names no repository of a registry") from None
    if reference.tag is not None or reference.digest is not None or not is_tag(tag):
        raise bad_request("the body names no tag of a repository")
    return Reference(reference.repository, tag)


def upstream_at(address: str, tag: str) -> Reference:
    """Name a tag of a repository that is written as HOST/PATH. Raises RefusedCallError."""
    host, _, path = address.partition("/")
    return upstream(host, path, tag)


def hosts(*candidates: str) -> Iterator[str]:
    """Name the candidates that a reference can have as its host, each once."""
    for host in dict.fromkeys(candidates):
        try:
            yield parse_host(host)
        except InvalidReferenceError:  # a name without a dot, an underscore in it, nothing at all
            continue


def host_of(url: str) -> str:
    """Find the host of a URL, with its port; "" where there is none."""
    _, scheme, rest = url.partition("://")
    return rest.partition("/")[0].rpartition("@")[2] if scheme else ""


def tags_named(references: Iterable[Reference], otherwise: str) -> NamedTags:
    """Gather references, each once; where there are none, say why."""
    found = tuple(dict.fromkeys(references))
    return NamedTags(found) if found else NamedTags(ignored=otherwise)
