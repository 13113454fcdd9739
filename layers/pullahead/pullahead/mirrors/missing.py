"""What is remembered of a tag that its rule no longer chooses: since when, and how surely. Pure data. See `pruning`."""

from enum import StrEnum

import msgspec

from pullahead.clock import Moment


class PruneReason(StrEnum):
    """Why a tag is missing from what its rule chooses."""

    GONE = "gone"  # upstream has no such tag
    UNCHOSEN = "unchosen"


class Missing(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Since when a tag is missing, and on how many days a sound listing has said so, at last when."""

    reason: PruneReason
    since: Moment
    days: int
    last: Moment
    reported: bool = False  # that it is due, by an event
    removed_at: Moment | None = None  # by Pullahead, or nearly: it is written before the tag goes
    left_at: Moment | None = None  # when ECR last kept it, for an index that needs it, or a tag that had moved
