"""What a rule demands of a digest before the tag may serve it. Pure data."""

import hashlib
from datetime import timedelta
from enum import StrEnum
from typing import Final, NamedTuple

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


class Severity(StrEnum):
    """How severe a finding is: as ECR says it of a basic scan, or Amazon Inspector of an enhanced one."""

    CRITICAL = "CRITICAL"
    HIGH = "HIGH"
    MEDIUM = "MEDIUM"
    LOW = "LOW"
    INFORMATIONAL = "INFORMATIONAL"
    UNDEFINED = "UNDEFINED"  # by ECR: nobody has rated it, or in words that ECR does not know
    UNTRIAGED = "UNTRIAGED"  # by Amazon Inspector: nobody has rated it yet


UNRATED: Final = frozenset({Severity.UNDEFINED, Severity.UNTRIAGED})
"""Two names of one thing: a rule that blocks one of them blocks both."""

DEFAULT_BLOCK: Final = (Severity.CRITICAL,)


class ScanPolicy(NamedTuple):
    """Which findings of AWS's scans hold a digest: those of a severity in `block`, but for the ones that are `exempt`.

    `fixable_only`: those alone for which a fix is, or may be, available. `wait`: how long after the copy a result may
    take; that no result holds a digest does not depend on it.
    """

    block: tuple[Severity, ...] = DEFAULT_BLOCK
    fixable_only: bool = False
    wait: timedelta = timedelta(hours=2)
    exempt: tuple[str, ...] = ()

    @property
    def fingerprint(self) -> str:
        """Identify what was asked of a scan: a result for other findings says nothing."""
        text = "\n".join((*sorted(self.block), str(self.fixable_only), *sorted(self.exempt)))
        return hashlib.sha256(text.encode()).hexdigest()[:16]


class AdmissionPolicy(NamedTuple):
    """What a rule demands. `min_age` counts from when a digest was first seen under its tag; zero is no cooldown.

    `approve`: a person must admit each digest. `verify`: who must have signed it; `grace` is how long after a digest
    was first seen its signature may come. `scan`: None where no scan is asked.
    """

    mode: AdmissionMode = AdmissionMode.ENFORCE
    min_age: timedelta = timedelta()
    serve: Serve = Serve.NEWEST_ELIGIBLE
    first_copy: FirstCopy = FirstCopy.HOLD
    approve: bool = False
    verify: SignaturePolicy | None = None
    grace: timedelta = timedelta()
    scan: ScanPolicy | None = None

    @property
    def without_signatures(self) -> "AdmissionPolicy | None":
        """What else it demands; None for nothing."""
        others = self._replace(verify=None, grace=timedelta())
        return others if others.demands_anything else None

    @property
    def demands_anything(self) -> bool:
        """Whether any digest has to wait for anything."""
        gates = (self.verify, self.scan)
        return self.approve or any(each is not None for each in gates) or self.min_age > timedelta()
