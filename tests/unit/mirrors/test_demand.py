"""Mirrors on demand: a missing upstream tag raises no alert before it was copied once."""

from datetime import timedelta

import pytest

from pullahead.alerts.review import Lateness
from pullahead.errors import AccessDeniedError, NotFoundError, PullaheadError, RegistryUnavailableError
from pullahead.mirrors.demand import is_absent
from pullahead.mirrors.judge import Observation, judge
from pullahead.mirrors.record import MirrorRecord, State
from pullahead.oci import Digest
from pullahead.rules.model import Mirror
from tests.fakes.memory import FakeClock
from tests.fakes.samples import digest, failed, mirror, root, rule, rules

DEMANDED = mirror()._replace(on_demand=True)
GONE, REFUSED = failed(NotFoundError), failed(AccessDeniedError)
DOWN = failed(RegistryUnavailableError)


def observed(
    upstream: PullaheadError, published: Digest | None = None, followed: Mirror = DEMANDED, **later: float
) -> MirrorRecord:
    """See the same at once and for long."""
    now = FakeClock()()
    first = judge(Observation(upstream, published), None, followed, now).record
    return judge(Observation(upstream, published), first, followed, now + timedelta(**(later or {"days": 2}))).record


@pytest.mark.parametrize("error", [GONE, REFUSED])
def test_demanded_tag_that_does_not_exist_raises_no_alert(error: PullaheadError) -> None:
    record = observed(error)
    assert is_absent(record)
    assert record.pending == ()
    known = rules([DEMANDED], "r", rule("1.0"))
    assert Lateness().including(record, known, FakeClock()() + timedelta(days=3)).mirrors == 0


@pytest.mark.parametrize(("error", "kind"), [(GONE, "NOT_FOUND"), (REFUSED, "ACCESS_DENIED")])
def test_missing_tag_that_a_rule_names_is_alerted(error: PullaheadError, kind: str) -> None:
    assert [alert.kind for alert in observed(error, followed=mirror()).pending] == [kind]


@pytest.mark.parametrize(("error", "kind"), [(GONE, "GONE"), (REFUSED, "ACCESS_DENIED")])
def test_demanded_tag_that_was_published_is_alerted(error: PullaheadError, kind: str) -> None:
    record = observed(error, digest("a"))
    assert [alert.kind for alert in record.pending] == [kind]
    assert not is_absent(record)


def test_demanded_tag_of_an_unreachable_upstream_is_alerted() -> None:
    assert [alert.kind for alert in observed(DOWN).pending] == ["UPSTREAM_UNREACHABLE"]


def test_demanded_tag_that_appears_upstream_is_refreshed() -> None:
    verdict = judge(Observation(root("a"), None), observed(GONE), DEMANDED, FakeClock()())
    assert (verdict.record.state, verdict.refresh) == (State.MISSING, True)
