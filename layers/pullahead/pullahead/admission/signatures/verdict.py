"""What verification found, in words for people. Whatever comes from outside is one safe line here."""

from enum import StrEnum
from typing import Final, NamedTuple

from pullahead.errors import PullaheadError
from pullahead.text import one_line

_MAX_CHARACTERS: Final = 400


class Outcome(StrEnum):
    """Whether an image is what its policy demands.

    UNSIGNED: nothing of the wanted kind is there. UNTRUSTED: what is there proves nothing. UNKNOWN: not everything
    could be read.
    """

    ADMITTED = "ADMITTED"
    UNSIGNED = "UNSIGNED"
    UNTRUSTED = "UNTRUSTED"
    UNKNOWN = "UNKNOWN"


class Finding(StrEnum):
    """What became of one thing that was looked at."""

    PROVEN = "proven"
    REFUSED = "refused"
    UNREADABLE = "unreadable"


class Evidence(NamedTuple):
    """One thing that was looked at: where it is kept, what became of it, and why."""

    source: str
    finding: Finding
    text: str

    def __str__(self) -> str:
        return f"{self.source}: {self.text}" if self.source else self.text


class SignatureVerdict(NamedTuple):
    """The outcome, the reason in one line, and what it rests on, in the order in which it was looked at."""

    outcome: Outcome
    reason: str
    evidence: tuple[Evidence, ...] = ()

    @property
    def is_admitted(self) -> bool:
        """Tell whether the policy is satisfied."""
        return self.outcome is Outcome.ADMITTED


class RefusedError(PullaheadError):
    """A signature or an attestation proves nothing. The message says why."""

    def __init__(self, reason: str) -> None:
        super().__init__(one_line(reason, _MAX_CHARACTERS))


def proven(source: str, text: str) -> Evidence:
    """Say what was proven, and by what."""
    return Evidence(one_line(source, _MAX_CHARACTERS), Finding.PROVEN, one_line(text, _MAX_CHARACTERS))


def refused(source: str, reason: object) -> Evidence:
    """Say what proves nothing, and why."""
    return Evidence(one_line(source, _MAX_CHARACTERS), Finding.REFUSED, one_line(str(reason), _MAX_CHARACTERS))


def unreadable(source: str, reason: object) -> Evidence:
    """Say what could not be read, and why."""
    return Evidence(one_line(source, _MAX_CHARACTERS), Finding.UNREADABLE, one_line(str(reason), _MAX_CHARACTERS))
