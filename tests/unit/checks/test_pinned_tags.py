"""Tags that are pinned to a digest: what is copied, what a check costs, and what is said when upstream moves away."""

from typing import Any

import pytest
from msgspec import structs

from local.images import make_image, make_index
from pullahead.dashboard.explain import MirrorFacts, explain
from pullahead.errors import AccessDeniedError, NoLongerWantedError, RegistryUnavailableError
from pullahead.mirrors.alert import AlertKind
from pullahead.mirrors.outcome_event import OutcomeKind
from pullahead.mirrors.record import Published, State
from pullahead.oci import Digest, parse_reference
from pullahead.refresh.wanted import require_wanted
from pullahead.rules.load import load_rules
from pullahead.rules.mirror_key import MirrorKey
from pullahead.rules.model import Mirror
from pullahead.rules.published_tags import digest_tag
from tests.fakes.checks import FIRST, SECOND, CheckingService
from tests.fakes.samples import REPOSITORY, UPSTREAM, failed, mirror
from tests.unit.rules.test_mistakes import mirror as written
from tests.unit.rules.test_mistakes import only_problem_of

THIRD = make_image(seed=3)


def pinned(digest: Digest = FIRST.digest, **more: Any) -> Mirror:
    return mirror(**more)._replace(upstream=parse_reference(f"{UPSTREAM}@{digest}"))


def service(one: Mirror | None = None) -> CheckingService:
    """Make a service with a pinned mirror, whose upstream serves SECOND under the tag by now."""
    made = CheckingService([one or pinned()])
    made.upstream.serve(SECOND, UPSTREAM)
    return made


def published() -> CheckingService:
    made = service()
    made.publish(FIRST)
    made.check()
    return made


def test_pinned_digest_is_copied_whatever_the_tag_serves() -> None:
    made = service()
    result = made.check_one()
    (request,) = made.refreshes.requests.values()
    assert (result.state, request.root.digest, request.tag) == (State.MISSING, FIRST.digest, "1.0")
    assert request.upstream == f"{UPSTREAM}@{FIRST.digest}"
    assert made.upstream.heads == 1
    require_wanted(request, made.rules)


def test_plan_of_another_digest_than_the_pinned_one_is_refused() -> None:
    made = service()
    made.check()
    (request,) = made.refreshes.requests.values()
    made.rules = CheckingService([pinned(SECOND.digest)]).rules
    with pytest.raises(NoLongerWantedError):
        require_wanted(request, made.rules)
    forged = structs.replace(request, upstream=f"{UPSTREAM}@{SECOND.digest}")
    with pytest.raises(NoLongerWantedError):
        require_wanted(forged, made.rules)


def test_every_check_costs_one_head_and_a_settled_one_no_write() -> None:
    made = published()
    made.settle_referrers()
    for asks_ecr, questions in ((True, ["published_digests"]), (False, [])):
        made.pass_time(asks_ecr=asks_ecr)
        made.script.resume()
        result = made.check_one()
        assert (result.state, result.started) == (State.FRESH, None)
        assert sorted(made.script.calls) == ["head_manifest", "load", *questions]
        assert made.upstream.heads == 1


def test_one_alert_and_one_event_say_that_upstream_has_moved_away() -> None:
    made = published()
    assert made.alerts == ["PIN_MOVED"]
    (alert,) = made.records.decided
    assert alert.detail == f"upstream serves {SECOND.digest}; the rules pin {FIRST.digest}"
    (event,) = [each for each in made.outcomes.published if each.kind is OutcomeKind.PIN_MOVED]
    assert (event.detail.moved_to, event.detail.upstream_digest) == (SECOND.digest, FIRST.digest)
    made.upstream.serve(THIRD, UPSTREAM)
    made.clock.advance(minutes=15)
    assert made.check_one().state is State.FRESH
    assert made.alerts == ["PIN_MOVED"]
    record = made.record()
    assert record.moved_away is not None
    assert (record.moved_away.to, record.open_alerts) == (THIRD.digest, (AlertKind.PIN_MOVED,))
    assert len([each for each in made.outcomes.published if each.kind is OutcomeKind.PIN_MOVED]) == 1


@pytest.mark.parametrize("again", [FIRST, None])
def test_alert_is_over_when_upstream_serves_the_digest_again_or_the_rules_pin_what_it_serves(again: Any) -> None:
    made = published()
    if again is not None:
        made.upstream.serve(again, UPSTREAM)
    else:
        made.rules = CheckingService([pinned(SECOND.digest)]).rules
    made.clock.advance(minutes=15)
    made.check()
    assert made.alerts == ["PIN_MOVED", "RECOVERED"]
    assert made.record().moved_away is None
    assert made.record().state is (State.FRESH if again is not None else State.STALE)


def test_changed_pin_is_copied() -> None:
    made = published()
    made.rules = CheckingService([pinned(THIRD.digest)]).rules
    made.upstream.serve(THIRD, f"{UPSTREAM}@{THIRD.digest}")
    made.clock.advance(minutes=15)
    result = made.check_one()
    (request,) = made.refreshes.requests.values()
    assert (result.state, result.reason) == (State.STALE, "the rules pin another digest")
    assert request.root.digest == THIRD.digest


def test_tag_that_upstream_removed_stays_fresh_and_is_reported_once() -> None:
    made = service()
    made.publish(FIRST)
    made.upstream.remove(UPSTREAM)
    assert made.check_one().state is State.FRESH
    assert made.alerts == ["PIN_MOVED"]
    assert "has no such tag any more" in made.records.decided[0].detail


@pytest.mark.parametrize("kind", [AccessDeniedError, RegistryUnavailableError])
def test_failure_of_upstream_is_no_trouble_while_ecr_serves_the_digest(kind: Any) -> None:
    made = published()
    made.script.fail("head_manifest", failed(kind))
    made.clock.advance(minutes=15)
    assert made.check_one().state is State.FRESH
    assert made.record().moved_away is not None
    assert made.alerts == ["PIN_MOVED"]


def test_overwritten_tag_is_restored_from_the_digest() -> None:
    made = published()
    made.publish(THIRD)
    result = made.check_one(pushed=THIRD.digest)
    (request,) = made.refreshes.requests.values()
    assert (result.state, request.root.digest) == (State.STALE, FIRST.digest)
    assert "DRIFT" in made.alerts


def test_digest_that_upstream_no_longer_has_is_gone_by_its_digest() -> None:
    made = service()
    made.upstream.remove(f"{UPSTREAM}@{FIRST.digest}")
    result = made.check_one()
    assert result.state is State.GONE
    assert result.reason == f"upstream has no digest `{FIRST.digest}`; check its spelling"


def test_pinned_index_with_selected_platforms_is_fresh_by_what_was_made_of_it() -> None:
    amd64, arm64 = make_image(seed=8), make_image(seed=9, platform="linux/arm64")
    index = make_index([amd64, arm64])
    one = pinned(index.digest, platforms=("linux/amd64",))
    made = service(one)
    made.upstream.serve(index, f"{UPSTREAM}@{index.digest}")
    assert made.check_one().state is State.MISSING
    record = made.record().with_changes(filtered=Published(index.digest, ("linux/amd64",), THIRD.digest))
    made.records.stored[one.key] = record
    made.publish(THIRD)
    assert made.check_one().state is State.FRESH
    assert made.alerts == ["PIN_MOVED"]  # the tag was asked for: the digest is there


DIGESTS = """\
version: 1
mirrors:
  - upstream: ghcr.io/team/app
    repository: mirror/app
    tags: ["1.0@{first}", {{name: "1.0@{second}", as: next}}]
    digests: ["{first}"]
"""


def test_rules_name_pins_and_digests() -> None:
    text = DIGESTS.format(first=FIRST.digest, second=SECOND.digest)
    rules = load_rules(text, source="rules.yaml")
    bare = digest_tag(FIRST.digest)
    assert {str(each.key): str(each.upstream) for each in rules.mirrors} == {
        "mirror/app:1.0": f"{UPSTREAM}@{FIRST.digest}",
        "mirror/app:next": f"{UPSTREAM}@{SECOND.digest}",
        f"mirror/app:{bare.target}": f"ghcr.io/team/app@{FIRST.digest}",
    }
    assert all(rules.find(each.repository, each.tag) == each for each in rules.mirrors)
    assert bare.target == f"digest-{FIRST.digest.removeprefix('sha256:')}"
    assert load_rules(text.replace(SECOND.digest, THIRD.digest), source="").digest != rules.digest


def test_digest_without_a_tag_is_copied_and_then_asks_nothing_of_upstream() -> None:
    rules = load_rules(DIGESTS.format(first=FIRST.digest, second=SECOND.digest), source="rules.yaml")
    one = next(each for each in rules.mirrors if each.upstream.tag is None)
    made = CheckingService([one])
    made.check(one.tag)
    (request,) = made.refreshes.requests.values()
    assert (request.tag, str(request.source)) == (one.tag, f"ghcr.io/team/app@{FIRST.digest}")
    made.publish(FIRST, tag=one.tag)
    for _ in range(2):
        made.check(one.tag)
        made.clock.advance(minutes=15)
    made.script.resume()
    (result,) = made.check(one.tag)
    assert (result.state, made.upstream.heads) == (State.FRESH, 0)
    assert made.records.stored[MirrorKey(REPOSITORY, one.tag)].upstream == f"ghcr.io/team/app@{FIRST.digest}"


@pytest.mark.parametrize(
    ("text", "path", "message", "hint"),
    [
        (written(tags=f'["{FIRST.digest}"]'), "mirrors[0].tags[0]", "not a valid tag", ""),
        (written(tags='["1@sha256:12"]'), "mirrors[0].tags[0]", "not a valid tag", "TAG@sha256:"),
        (written(tags=f'["@{FIRST.digest}"]'), "mirrors[0].tags[0]", "not a valid tag", "`digests`"),
        (written(tags='["1*"]', exclude=f'["1@{FIRST.digest}"]'), "mirrors[0].exclude[0]", "not a valid tag", "`tags`"),
        (written(digests="[sha256:12]"), "mirrors[0].digests[0]", "is not a digest", "64"),
        (written(tags="-"), "mirrors[0]", "tags is missing", ""),
        (
            written(upstream="ghcr.io/a/*", repository='"m/{path}"', digests=f'["{FIRST.digest}"]'),
            "mirrors[0].digests[0]",
            "a digest is of one repository",
            "that repository",
        ),
    ],
)
def test_mistake_in_a_digest_is_told_at_its_line(text: str, path: str, message: str, hint: str) -> None:
    problem = only_problem_of(text)
    assert problem.path == path
    assert message in problem.message
    assert hint in problem.hint


def test_tag_that_is_pinned_twice_is_told() -> None:
    problem = only_problem_of(written(tags=f'["1", "1@{FIRST.digest}"]'))
    assert (problem.path, problem.message) == ("mirrors[0].tags[1]", "mirror/b:1 is already on line 4")


def test_pattern_leaves_a_pinned_tag_alone() -> None:
    rules = load_rules(written(tags=f'["1*", "1.0@{FIRST.digest}"]'), source="")
    found = rules.find("mirror/b", "1.0")
    assert found is not None
    assert found.pin == FIRST.digest


def test_digest_without_a_tag_that_upstream_lost_stays_fresh_in_silence() -> None:
    bare = digest_tag(FIRST.digest)
    one = mirror(bare.target)._replace(upstream=parse_reference(f"ghcr.io/team/app@{FIRST.digest}"))
    made = CheckingService([one])
    made.publish(FIRST, tag=one.tag)
    made.upstream.remove(f"ghcr.io/team/app@{FIRST.digest}")
    (result,) = made.check(one.tag)
    assert (result.state, made.alerts) == (State.FRESH, [])


def test_why_says_what_is_pinned_and_where_upstream_has_moved_to() -> None:
    made = service()
    made.publish(FIRST)
    made.upstream.serve(FIRST, UPSTREAM)
    made.check()
    one = made.rules.mirrors[0]
    (before,) = (step.text for step in explain(one.key, MirrorFacts(one, made.record()), made.rules, made.clock())[1:2])
    assert before == f"{UPSTREAM}@{FIRST.digest} is pinned by the rules"
    made.upstream.serve(SECOND, UPSTREAM)
    made.check()
    steps = {
        step.about: step.text for step in explain(one.key, MirrorFacts(one, made.record()), made.rules, made.clock())
    }
    assert f"upstream serves {SECOND.digest}; the rules pin {FIRST.digest}, since 20" in steps["upstream"]
    assert steps["alerts"] == "PIN_MOVED, not sent yet"
    assert steps["verdict"].startswith("FRESH")


def test_why_names_a_digest_that_upstream_does_not_have() -> None:
    made = service()
    made.upstream.remove(f"{UPSTREAM}@{FIRST.digest}")
    made.check()
    one = made.rules.mirrors[0]
    steps = {
        step.about: step.text for step in explain(one.key, MirrorFacts(one, made.record()), made.rules, made.clock())
    }
    assert steps["upstream"] == f"ghcr.io/team/app has no digest `{FIRST.digest}`; check its spelling"
