"""What the core asks of the world: one-verb protocols that adapters satisfy and fakes imitate. No implementation.

Every method may raise the errors that its docstring names and no others; adapters translate.
"""

from pullahead.ports.admission import Entry, SeesRefreshes, Slot, Slots, WaitingLine
from pullahead.ports.dead_letters import Aside, DeadLetter, DeadLetters, PutsAside, SourceQueue, Taken
from pullahead.ports.demands import CountsDemands, Demands, FollowsDemands, KeepsDemands
from pullahead.ports.memory import (
    Heartbeat,
    LoadsRules,
    Plans,
    QueuesChecks,
    Records,
    ScansRecords,
    Started,
    StartsRefreshes,
)
from pullahead.ports.merging import WINDOW, Claim, Claimed, ClaimsWindows
from pullahead.ports.outcomes import PublishesOutcomes
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
from pullahead.ports.telling import KeepsIncidents, PublishesAlerts, TakesTurns
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
from pullahead.ports.webhooks import ReadsWebhookSecrets, RemembersCalls

__all__ = [
    "WINDOW",
    "Aside",
    "ChangesPauses",
    "Claim",
    "Claimed",
    "ClaimsWindows",
    "Clock",
    "CountsDemands",
    "DeadLetter",
    "DeadLetters",
    "Demands",
    "EnsuresRepositories",
    "Entry",
    "FindsBlobs",
    "FindsMounts",
    "FindsPublished",
    "FollowsDemands",
    "GetsManifests",
    "HeadsManifests",
    "Heartbeat",
    "KeepsDemands",
    "KeepsIncidents",
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
    "PublishesOutcomes",
    "PutsAside",
    "PutsManifests",
    "QueuesChecks",
    "ReadsWebhookSecrets",
    "Records",
    "RemembersCalls",
    "ScansRecords",
    "SeesRefreshes",
    "Slot",
    "Slots",
    "SourceQueue",
    "Started",
    "StartsRefreshes",
    "StreamsBlobs",
    "Taken",
    "TakesTurns",
    "Target",
    "Upload",
    "UploadsBlobs",
    "Upstream",
    "Wait",
    "WaitingLine",
]
