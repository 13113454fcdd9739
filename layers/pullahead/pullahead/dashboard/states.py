"""What each state of a mirror means, worst first."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from pullahead.mirrors.record import State

# What waits for a person, then what waits for Pullahead, then what is well.
STATE_MEANINGS: Final[Mapping[State, str]] = MappingProxyType(
    {
        State.BLOCKED: "cannot be refreshed until somebody acts",
        State.GONE: "upstream no longer has the tag",
        State.STALE: "upstream moved; a refresh is due or running",
        State.MISSING: "never copied yet",
        State.UNKNOWN: "upstream could not be checked",
        State.DELETED: "deleted from ECR; not copied again until upstream moves",
        State.FRESH: "ECR serves what upstream serves",
    }
)

STATE_RANKS: Final[Mapping[State, int]] = MappingProxyType({state: rank for rank, state in enumerate(STATE_MEANINGS)})
