"""A made-up deployment of many mirrors: their rules, and their records, made one by one as they are read.

Half of the tags are named by rules, ten in a repository; a pattern selects the others, a hundred in a repository.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from pullahead.mirrors.alert import Alert, AlertKind, SentAlert
from pullahead.mirrors.record import LastRefresh, MirrorRecord, Past, RuleRecord, State, Trigger
from pullahead.oci import Digest
from pullahead.rules.mirror_key import MirrorKey, RuleKey

HOST: Final = "ghcr.io"
_NAMED, _SELECTED = 10, 100  # tags of a repository
_DIGEST: Final = Digest("sha256:" + "0123456789abcdef" * 4)
_EXECUTION: Final = (
    "arn:aws:states:eu-west-1:123456789012:execution:pullahead-refresh:mirror-app-1-0-0-3309a33f61513f5a"
)
_CAUSE: Final = (
    "head_manifest of ghcr.io/team/app:1.0 failed: 503 Service Unavailable (3 tries, with user of secret a/b)"
)
INCIDENT: Final = "UPSTREAM_UNREACHABLE#ghcr.io#RegistryUnavailableError"


class Deployment(NamedTuple):
    """How many mirrors there are, how many are not fresh and whether that is still to be told, and how much history a
    record has, in states."""

    mirrors: int
    unfresh: int = 0
    told: bool = True
    history: int = 20

    @property
    def _of_patterns(self) -> int:
        return self.mirrors // 2

    def key(self, number: int) -> MirrorKey:
        """Name a mirror."""
        if number < self._of_patterns:
            return MirrorKey(f"selected/team/app-{number // _SELECTED:05}", f"v1.{number % _SELECTED}.0")
        number -= self._of_patterns
        return MirrorKey(f"named/team/app-{number // _NAMED:05}", f"v1.{number % _NAMED}.0")

    def number_of(self, key: MirrorKey) -> int:
        """Find the number of a mirror by its name."""
        repository, tag = int(key.repository.rpartition("-")[2]), int(key.tag.split(".")[1])
        if key.repository.startswith("selected/"):
            return repository * _SELECTED + tag
        return self._of_patterns + repository * _NAMED + tag

    def is_unfresh(self, number: int) -> bool:
        """Tell whether a mirror is not fresh: so many of them, spread evenly."""
        return number * self.unfresh // self.mirrors != (number + 1) * self.unfresh // self.mirrors

    def record(self, number: int, now: datetime) -> MirrorRecord:
        """Make the record of a mirror."""
        key, is_unfresh = self.key(number), self.is_unfresh(number)
        since = now - timedelta(hours=2, seconds=number % 3600)
        states = (State.STALE, State.FRESH) if is_unfresh else (State.FRESH, State.STALE)
        past = tuple(
            Past(since - timedelta(hours=at), states[at % 2], Trigger.SCHEDULE, "upstream moved" if at < 10 else "")
            for at in range(self.history, 0, -1)
        )
        fresh = MirrorRecord(
            key,
            f"{HOST}/{key.repository.partition('/')[2]}:{key.tag}",
            State.FRESH,
            since,
            past=past,
            version=40,
            upstream_digest=_DIGEST,
            published_digest=_DIGEST,
            previous_digest=_DIGEST,
            last_refresh=LastRefresh(since, 12.5, 95.0, 52_428_800, _EXECUTION, _DIGEST),
            episode=21,
        )
        if not is_unfresh:
            return fresh
        kind, error = AlertKind.UPSTREAM_UNREACHABLE, "RegistryUnavailableError"
        alert = Alert(kind, key, fresh.upstream, since, now, _CAUSE, error)
        return fresh.with_changes(
            state=State.UNKNOWN,
            unfresh_since=since,
            error_kind=error,
            error=_CAUSE,
            alerted=(kind,),
            pending=() if self.told else (alert,),
            told=(SentAlert(kind, INCIDENT, now),) if self.told else (),
        )

    def listing(self, key: RuleKey, now: datetime) -> RuleRecord:
        """Make the record of a rule that selects all tags of its repository."""
        tags = tuple(f"v1.{number}.0" for number in range(_SELECTED))
        return RuleRecord(key, f"{HOST}/{key.repository}", State.FRESH, now, version=3, followed=tags)

    def listing_keys(self) -> list[RuleKey]:
        """Name the rules that select tags."""
        repositories = (f"selected/team/app-{at:05}" for at in range(-(-self._of_patterns // _SELECTED)))
        return [RuleKey(name, name.replace("/", "-")) for name in repositories]

    def rules(self) -> str:
        """Write the rules."""
        return "\n".join(["version: 1", "mirrors:", *self._mirrors(), ""])

    def _mirrors(self) -> Iterator[str]:
        for key in self.listing_keys():
            upstream = f"{HOST}/{key.repository.partition('/')[2]}"
            yield f'  - {{name: {key.rule}, upstream: {upstream}, repository: {key.repository}, tags: ["v1.*"]}}'
        tags = ",".join(f"v1.{number}.0" for number in range(_NAMED))
        for at in range((self.mirrors - self._of_patterns) // _NAMED):
            yield f"  - {{upstream: {HOST}/team/app-{at:05}, repository: named/team/app-{at:05}, tags: [{tags}]}}"


def this_moment() -> datetime:
    """The time now, aware, in UTC."""
    return datetime.now(UTC)
