"""Make the request of a refresh, and the name of its execution: the same refresh, requested twice, runs once."""

import hashlib
import re
from datetime import datetime

from msgspec import structs

from pullahead.messages import RefreshRequest
from pullahead.mirrors.record import MirrorRecord
from pullahead.oci import Descriptor, Digest
from pullahead.rules.mirror_key import MirrorKey
from pullahead.rules.model import Mirror
from pullahead.rules.signature_policy import fingerprint_of


def refresh_request(mirror: Mirror, root: Descriptor, record: MirrorRecord) -> RefreshRequest:
    """Make the request for a mirror's refresh; its execution runs once for each digest, platforms and episode."""
    return RefreshRequest(
        name=execution_name(mirror.key, root.digest, record.episode, record.platforms),
        repository=mirror.repository,
        tag=mirror.tag,
        upstream=str(mirror.upstream),
        root=root,
        episode=record.episode,
        stale_since=record.unfresh_since or record.since,
        platforms=record.platforms,
    )


def ahead_request(
    mirror: Mirror, root: Descriptor, record: MirrorRecord, now: datetime, *, again: bool = False
) -> RefreshRequest:
    """Make the request to copy a digest that the tag may not serve yet; `publish_image` leaves the tag alone.

    Where it has to wait for a slot, what is stale by now goes first. `again`: an earlier copy has failed, or was made
    before the rule asked for what only a copy finds out; that is tried once an hour.
    """
    request = refresh_request(mirror, root, record)
    look = look_name(mirror, root.digest, record)
    ahead = f"ahead-{int(now.timestamp() // 3600)}" if again else "ahead"
    name = execution_name(mirror.key, root.digest, record.episode, (*record.platforms, ahead, *look))
    return structs.replace(request, name=name, stale_since=now, ahead=True)


def look_name(mirror: Mirror, digest: Digest, record: MirrorRecord) -> tuple[str, ...]:
    """Tell one look at a digest's signatures from the next, which is another execution; empty where none is taken."""
    verify = mirror.admit.verify if mirror.admit is not None else None
    if verify is None:
        return ()
    found = record.admission.find(digest) if record.admission is not None else None
    known = found.signature if found is not None else None
    return (fingerprint_of(verify), known.at.isoformat() if known is not None else "")


def late_request(
    mirror: Mirror, root: Descriptor, record: MirrorRecord, fingerprint: str, now: datetime
) -> RefreshRequest:
    """Make the request to copy referrers that came after the image; it runs once for each set of them and each try.

    Where it has to wait for a slot, images that are stale by now go first.
    """
    tries = record.referrers.tries if record.referrers is not None else 0
    late = f"{fingerprint}-{tries}"
    request = refresh_request(mirror, root, record)
    name = execution_name(mirror.key, root.digest, record.episode, (*record.platforms, late))
    return structs.replace(request, name=name, late=late, stale_since=now)


def execution_name(key: MirrorKey, digest: Digest, episode: int, platforms: tuple[str, ...] = ()) -> str:
    """Derive an execution's name, at most 80 characters (Step Functions API reference, StartExecution, name)."""
    readable = re.sub(r"[^A-Za-z0-9-]+", "-", str(key)).strip("-")[:40]
    identity = hashlib.sha256("\n".join((str(key), digest, str(episode), *platforms)).encode()).hexdigest()[:24]
    return f"{readable}-{episode}-{identity}"[-80:]
