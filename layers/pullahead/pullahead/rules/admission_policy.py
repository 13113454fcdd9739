"""What a rule demands of a digest before the tag may serve it. Pure data."""

from datetime import timedelta
from enum import StrEnum
from typing import NamedTuple

from pullahead.rules.signature_policy import SignaturePolicy


class AdmissionMode(StrEnum):
    """Whether a tag waits for its gates, or Pullahead only says for what it would have waited."""

    ENFORCE = "enforce"
    REPORT = "report"


class Serve(StrEnum):
    """Which digests a tag may serve after a cooldown: also such as upstream has replaced, or the current one alone."""

    NEWEST_ELIGIBLE = "newest-eligible"
    CURRENT = "current"


class FirstCopy(StrEnum):
    """Whether a tag that was never copied waits like any other, or serves at once what upstream does."""

    HOLD = "hold"
    ADMIT = "admit"


class AdmissionPolicy(NamedTuple):
    """What a rule demands. `min_age` counts from when a digest was first seen under its tag; zero is no cooldown.

    `approve`: a person must admit each digest. `verify`: who must have signed it; `grace` is how long after a digest
    was first seen its signature may come.
    """

    mode: AdmissionMode = AdmissionMode.ENFORCE
    min_age: timedelta = timedelta()
    serve: Serve = Serve.NEWEST_ELIGIBLE
    first_copy: FirstCopy = FirstCopy.HOLD
    approve: bool = False
    verify: SignaturePolicy | None = None
    grace: timedelta = timedelta()

    @property
    def without_signatures(self) -> "AdmissionPolicy | None":
        """What else it demands; None for nothing."""
        others = self._replace(verify=None, grace=timedelta())
        return others if others.demands_anything else None

    @property
    def demands_anything(self) -> bool:
        """Whether any digest has to wait for anything."""
        return self.approve or self.verify is not None or self.min_age > timedelta()
