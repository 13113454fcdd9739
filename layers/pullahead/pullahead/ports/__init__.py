"""What the core asks of the world: one-verb protocols that adapters satisfy and fakes imitate. No implementation.

Every method may raise the errors that its docstring names and no others; adapters translate.
"""

from pullahead.ports.memory import (
    Heartbeat,
    LoadsRules,
    Plans,
    PublishesAlerts,
    QueuesChecks,
    Records,
    ScansRecords,
    Started,
    StartsRefreshes,
)
from pullahead.ports.pauses import ChangesPauses, ListsPauses
from pullahead.ports.target import (
    EnsuresRepositories,
    FindsBlobs,
    FindsMounts,
    FindsPublished,
    Offered,
    OpenPieces,
    PutsManifests,
    StreamsBlobs,
    Target,
    Upload,
    UploadsBlobs,
)
from pullahead.ports.time import Clock, Wait
from pullahead.ports.upstream import (
    GetsManifests,
    HeadsManifests,
    ListsRepositories,
    ListsTags,
    OpensBlobs,
    OpensUrls,
    Upstream,
)

__all__ = [
    "ChangesPauses",
    "Clock",
    "EnsuresRepositories",
    "FindsBlobs",
    "FindsMounts",
    "FindsPublished",
    "GetsManifests",
    "HeadsManifests",
    "Heartbeat",
    "ListsPauses",
    "ListsRepositories",
    "ListsTags",
    "LoadsRules",
    "Offered",
    "OpenPieces",
    "OpensBlobs",
    "OpensUrls",
    "Plans",
    "PublishesAlerts",
    "PutsManifests",
    "QueuesChecks",
    "Records",
    "ScansRecords",
    "Started",
    "StartsRefreshes",
    "StreamsBlobs",
    "Target",
    "Upload",
    "UploadsBlobs",
    "Upstream",
    "Wait",
]
