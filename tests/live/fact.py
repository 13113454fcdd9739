"""A fact: something about AWS that the code relies on, and the check that looks whether it is so. Knows no AWS."""

from collections.abc import Callable, Collection
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from tests.live.site import Site


class Verdict(StrEnum):
    """What a check has shown."""

    AGREES = "as expected"
    DIFFERS = "DIFFERS"
    NOT_CHECKED = "not checked"
    FAILED = "FAILED"


class Finding(NamedTuple):
    """What was seen, and whether the code copes with it."""

    agrees: bool
    seen: str


class UnmetError(Exception):
    """The account or the Region lacks what a check needs; the message says what."""


Check = Callable[["Site"], Finding]


class Fact(NamedTuple):
    """One fact. Without a check, `reason` says why it cannot be checked."""

    id: str
    claim: str
    source: str
    relied_on_by: tuple[str, ...]  # files, from the package or the root
    check: Check | None
    reason: str = ""
    emulated_in: tuple[str, ...] = ()  # files of the local AWS that behave so
    only_live: str = ""  # why the local AWS cannot show it
    errors: frozenset[str] = frozenset()  # codes of ECR's errors that it is about
    needs_stack: bool = False
    hears_events: bool = False


class Section:
    """Facts about one subject, in the order in which they are checked and listed. Some are seen by events alone."""

    def __init__(self, title: str, *, hears_events: bool = False) -> None:
        self.title: Final = title
        self._hears_events: Final = hears_events
        self.facts: Final[list[Fact]] = []

    def fact(
        self,
        claim: str,
        *,
        source: str,
        relied_on_by: Collection[str],
        emulated_in: Collection[str] = (),
        errors: Collection[str] = (),
        only_live: str = "",
        needs_stack: bool = False,
    ) -> Callable[[Check], Check]:
        """Add a fact that the decorated function checks; its ID is the function's name."""

        def add(check: Check) -> Check:
            self.facts.append(
                Fact(
                    check.__name__.replace("_", "-"),
                    claim,
                    source,
                    tuple(relied_on_by),
                    check,
                    emulated_in=tuple(emulated_in),
                    only_live=only_live,
                    errors=frozenset(errors),
                    needs_stack=needs_stack,
                    hears_events=self._hears_events,
                )
            )
            return check

        return add

    def unchecked(
        self,
        fact_id: str,
        claim: str,
        *,
        source: str,
        relied_on_by: Collection[str],
        reason: str,
        errors: Collection[str] = (),
    ) -> None:
        """Add a fact that no check can look at."""
        self.facts.append(
            Fact(fact_id, claim, source, tuple(relied_on_by), None, reason=reason, errors=frozenset(errors))
        )


class Result(NamedTuple):
    """A fact, and what became of its check."""

    fact: Fact
    verdict: Verdict
    seen: str
