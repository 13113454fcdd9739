"""Tags that the rules pin to a digest: whether ECR serves it, and whether upstream still does. Pure.

A check asks one thing of upstream: where ECR serves the pinned digest, what the tag names by now; else the digest, as
it is to be copied.
"""

from datetime import datetime

from pullahead.errors import NotFoundError, PullaheadError
from pullahead.mirrors.alert import Alert, AlertKind
from pullahead.mirrors.record import MirrorRecord, MovedAway
from pullahead.oci import Descriptor, Digest, Reference
from pullahead.oci.media_types import OCI_INDEX
from pullahead.rules.model import Mirror


def serves_pin(mirror: Mirror, known: MirrorRecord | None, published: Digest | PullaheadError | None) -> bool:
    """Tell whether ECR serves what the rules pin the tag to: with selected platforms, what was made of it."""
    pin = mirror.pin
    if pin is None or published is None or isinstance(published, PullaheadError):
        return False
    if not mirror.platforms:
        return published == pin
    made = known.filtered if known is not None else None
    platforms = tuple(sorted(set(mirror.platforms)))
    return made is not None and made.made_from(pin, platforms) and made.digest == published


def reference_to_ask(
    mirror: Mirror, known: MirrorRecord | None, published: Digest | PullaheadError | None
) -> Reference:
    """Name what a check asks upstream for."""
    follows_tag = mirror.pin is not None and mirror.upstream.tag is not None
    if follows_tag and serves_pin(mirror, known, published):
        return mirror.upstream._replace(digest=None)
    return mirror.upstream


def pinned_descriptor(mirror: Mirror) -> Descriptor | None:
    """Describe what the rules pin the tag to, as if upstream served it; its type and size are not known."""
    return Descriptor(OCI_INDEX, mirror.pin, 0) if mirror.pin is not None else None


def moved_away(
    upstream: Descriptor | PullaheadError, before: MirrorRecord | None, mirror: Mirror, now: datetime
) -> MovedAway | None:
    """Derive from upstream's answer about the tag whether it has moved away from the pin; unknown is as before.

    A digest without a tag cannot be moved away from: ECR's copy is as good as upstream's.
    """
    if mirror.pin is None or mirror.upstream.tag is None:
        return None
    known = before.moved_away if before is not None else None
    known = known if known is not None and known.pin == mirror.pin else None
    if isinstance(upstream, Descriptor):
        to = upstream.digest
        if to == mirror.pin:
            return None
    elif isinstance(upstream, NotFoundError):
        to = None
    else:
        return known
    return MovedAway(mirror.pin, to, known.since if known is not None else now)


def with_moved_away(
    before: MirrorRecord | None, after: MirrorRecord, moved: MovedAway | None, now: datetime
) -> MirrorRecord:
    """Record where upstream has moved to: one alert when it moves away, one when that is over."""
    was = before.moved_away if before is not None else None
    if moved is None and was is None:
        return after
    if moved is None:
        since = was.since if was is not None else now
        over = Alert(AlertKind.RECOVERED, after.key, after.upstream, since, now, of=AlertKind.PIN_MOVED)
        return after.with_changes(moved_away=None, pending=(*after.pending, over))
    if was is not None:
        return after.with_changes(moved_away=moved)
    alert = Alert(AlertKind.PIN_MOVED, after.key, after.upstream, moved.since, now, moved_text(moved))
    return after.with_changes(moved_away=moved, pending=(*after.pending, alert))


def moved_text(moved: MovedAway) -> str:
    """Say what upstream serves in place of a pinned digest."""
    serves = f"serves {moved.to}" if moved.to is not None else "has no such tag any more"
    return f"upstream {serves}; the rules pin {moved.pin}"
