"""Names of tags in ECR: by a template such as `{tag}-mirror`, or one that a tag is given in the rules. Pure."""

import re
from typing import NamedTuple

from pullahead.oci import Digest, parse_digest
from pullahead.oci.reference import is_tag

TAG = "tag"
SAME_NAME = "{tag}"
"""The template that publishes a tag under upstream's name."""

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_CHARACTERS = re.compile(r"(?:[A-Za-z0-9_][A-Za-z0-9._-]*)?\{tag\}[A-Za-z0-9._-]*")
MAX_TEMPLATE_CHARACTERS = 100


DIGEST_TAG = "digest-"
"""Begins the name in ECR of a digest that has no tag; the 64 hexadecimal digits follow."""


class NamedTag(NamedTuple):
    """A tag that a rule names: its name upstream, its name in ECR, and the digest that it is pinned to, if it is.

    A digest that is followed without a tag has no name upstream.
    """

    name: str | None
    target: str
    digest: Digest | None = None


def digest_tag(digest: Digest, target: str = "") -> NamedTag:
    """Name a digest that has no tag: ECR expires what has none, and lifecycle rules cannot tell it from leftovers."""
    return NamedTag(None, target or f"{DIGEST_TAG}{digest.partition(':')[2]}", digest)


_DIGEST_TAG = re.compile(rf"{DIGEST_TAG}([0-9a-f]{{64}})")


def digest_of_tag(target: str) -> Digest | None:
    """Return the digest that a name in ECR stands for, as `digest_tag` makes it; None for any other name."""
    match = _DIGEST_TAG.fullmatch(target)
    return parse_digest(f"sha256:{match[1]}") if match is not None else None


_PREVIOUS = "--previous-"
_PREVIOUS_TAG = re.compile(rf"(.+){_PREVIOUS}[0-9a-f]{{12}}")


def previous_tag(tag: str, digest: Digest) -> str:
    """Name the tag that keeps what a tag in ECR served before it moved. It may be too long for a tag."""
    return f"{tag}{_PREVIOUS}{digest.partition(':')[2][:12]}"


def is_previous_tag(tag: str) -> bool:
    """Tell whether a tag keeps what another one served: it is no mirror of its own."""
    return tag_before_move(tag) is not None


def tag_before_move(tag: str) -> str | None:
    """Return the tag that served what a tag keeps; None where it is no name of `previous_tag`."""
    match = _PREVIOUS_TAG.fullmatch(tag)
    return match[1] if match is not None else None


def unknown_placeholder(template: str) -> str | None:
    """Return the first placeholder of a template that is not `{tag}`."""
    return next((name for name in _PLACEHOLDER.findall(template) if name != TAG), None)


def is_template(text: str) -> bool:
    """Tell whether a text has `{tag}` once, between characters that tags may have there."""
    return len(text) <= MAX_TEMPLATE_CHARACTERS and _CHARACTERS.fullmatch(text) is not None


def publish_as(template: str, tag: str) -> str:
    """Name an upstream tag in ECR. The result may be too long for a tag."""
    return template.replace(SAME_NAME, tag)


def published_from(template: str, target: str) -> str | None:
    """Return the upstream tag that a template publishes under a name in ECR; None where it gives no such name."""
    if template == SAME_NAME:
        return target
    before, _, after = template.partition(SAME_NAME)
    if not target.startswith(before) or not target.endswith(after):
        return None
    tag = target[len(before) : len(target) - len(after)]
    return tag if is_tag(tag) else None


def may_give_one_name(first: str, second: str) -> bool:
    """Tell whether two templates may publish two upstream tags under one name in ECR."""
    if first == second:
        return False
    (before, _, after), (other_before, _, other_after) = (each.partition(SAME_NAME) for each in (first, second))
    return (before.startswith(other_before) or other_before.startswith(before)) and (
        after.endswith(other_after) or other_after.endswith(after)
    )
