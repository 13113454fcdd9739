"""Put a tag on what a tag serves, before the tag moves: `TAG--previous-<12 hex digits>`.

What others have put under the tag is not kept, as far as a record tells.
"""

from pullahead.messages import KeptPrevious
from pullahead.mirrors.previous import tag_to_keep
from pullahead.mirrors.record import MirrorRecord
from pullahead.oci import Digest
from pullahead.oci.registries import ReferrersTarget
from pullahead.rules.mirror_key import MirrorKey


def keep_previous(
    key: MirrorKey, wanted: Digest, target: ReferrersTarget, known: MirrorRecord | None = None
) -> KeptPrevious | None:
    """Keep what a tag serves, if that is not what is wanted. Raises: what the port raises; then the tag must not move.

    A publish that was interrupted behind the move of the tag finds what it has kept.
    """
    served = target.read_manifest(key.repository, key.tag)
    if served is None:
        return None
    digest = served.manifest.descriptor.digest
    if digest == wanted:
        return _kept_before(key, wanted, target, known)
    last = known.last_refresh if known is not None else None
    if last is not None and last.digest not in (None, digest):
        return None
    name = tag_to_keep(key.tag, digest)
    if name is None:
        return None
    target.put_manifest(key.repository, served.manifest, name)
    return KeptPrevious(digest, name)


def _kept_before(
    key: MirrorKey, wanted: Digest, target: ReferrersTarget, known: MirrorRecord | None
) -> KeptPrevious | None:
    before = known.published_digest if known is not None else None
    name = tag_to_keep(key.tag, before) if before not in (None, wanted) and before is not None else None
    if before is None or name is None:
        return None
    return KeptPrevious(before, name) if target.published_digests(key.repository, [name]).get(name) == before else None
