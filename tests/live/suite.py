"""One run: prepare, check, deploy, check on, and remove everything however it ends."""

import contextlib
import logging
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from typing import Final, NamedTuple

from tests.live import cleaning, table
from tests.live.deploying import Deploy, NotDeployedError
from tests.live.fact import Fact, Result, UnmetError, Verdict
from tests.live.facts import all_facts
from tests.live.site import Site

Tell = Callable[[str], None]
Cleaning = Callable[[], AbstractContextManager[object]]

_WRONG: Final = (Verdict.DIFFERS, Verdict.FAILED)

log = logging.getLogger(__name__)


class Report(NamedTuple):
    """What a run has shown, and what it has left behind."""

    results: Sequence[Result]
    left: Sequence[str]

    @property
    def is_good(self) -> bool:
        """Whether nothing differs, failed or was left."""
        return not self.left and not any(result.verdict in _WRONG for result in self.results)


def chosen_facts(ids: Collection[str] = ()) -> list[Fact]:
    """Choose facts that can be checked, by their IDs or all.

    Raises:
        LookupError: an ID is none of them.
    """
    checked = [fact for fact in all_facts() if fact.check is not None]
    unknown = set(ids) - {fact.id for fact in checked}
    if unknown:
        raise LookupError(f"no fact that is checked has the ID {', '.join(sorted(unknown))}; see docs/facts.md")
    return [fact for fact in checked if not ids or fact.id in ids]


def run_suite(
    site: Site, facts: Sequence[Fact], deploy: Deploy, tell: Tell, cleaning_up: Cleaning = contextlib.nullcontext
) -> Report:
    """Check facts; however that ends, by an interrupt too, remove what was made, and tell what is left."""
    results: list[Result] = []
    left: list[str] = []

    def check_all(chosen: Sequence[Fact]) -> None:
        for fact in chosen:
            results.append(check(fact, site))
            tell(table.row(results[-1], facts, is_local=site.account.is_local))

    by_stack = [fact for fact in facts if fact.needs_stack]
    try:
        tell(f"making a bucket, a queue and two event rules named {site.run.name}")
        site.prepare()
        tell(table.heading(facts))
        check_all([fact for fact in facts if not fact.needs_stack])
        if by_stack and _is_deployed(site, deploy, tell):
            check_all(by_stack)
        else:
            results += [Result(fact, Verdict.FAILED, "the stack was not deployed") for fact in by_stack]
    finally:
        try:
            with cleaning_up():
                left += cleaning.clean(site.account, site.run, site.waits, tell)
        except KeyboardInterrupt:
            tell("the removal was interrupted; remove the rest by: make live ARGS=--clean")
            raise
    return Report(results, left)


def check(fact: Fact, site: Site) -> Result:
    """Check one fact. A check that breaks says how, and the others go on."""
    if fact.check is None:
        raise ValueError(f"{fact.id} has no check")
    if fact.only_live and site.account.is_local:
        return Result(fact, Verdict.NOT_CHECKED, f"only in a real account: {fact.only_live}")
    try:
        if fact.hears_events:
            site.events.wait_until_in_effect()
        finding = fact.check(site)
    except UnmetError as unmet:
        return Result(fact, Verdict.NOT_CHECKED, str(unmet))
    except Exception as error:
        log.debug("%s failed", fact.id, exc_info=True)
        return Result(fact, Verdict.FAILED, f"{type(error).__name__}: {error}")
    return Result(fact, Verdict.AGREES if finding.agrees else Verdict.DIFFERS, finding.seen)


def _is_deployed(site: Site, deploy: Deploy, tell: Tell) -> bool:
    tell(f"deploying the stack {site.run.name}: sam build, sam deploy")
    try:
        site.use(deploy(site))
    except NotDeployedError as error:
        tell(str(error))
        return False
    return True
