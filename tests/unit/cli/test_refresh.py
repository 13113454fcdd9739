"""`refresh`: what is queued, how it is followed, how it is said to have ended, and with which exit code."""

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from pullahead.cli.main import parse_arguments
from pullahead.cli.output import interruption_note
from pullahead.cli.refresh import request_refresh
from pullahead.errors import ConfigError, StorageError
from pullahead.mirrors.record import LastRefresh, ManualCheck, MirrorRecord, RefreshFailure, RuleRecord, State
from pullahead.refresh.plan import CopyPlan, plan_key
from pullahead.refresh.ports import StartResult
from pullahead.refresh.request import execution_name
from pullahead.rules.mirror_key import MirrorKey, RuleKey
from pullahead.rules.model import OnDemand
from pullahead.rules.tag_patterns import PatternKind, TagPattern, TagSelection
from tests.fakes.memory import FakeClock
from tests.fakes.records import fresh, unfresh
from tests.fakes.samples import KEY, REPOSITORY, digest, mirror, root, rule, rules
from tests.fakes.stack import FakeStack

A, B = digest("a"), digest("b")
NAME = execution_name(KEY, A, 1)
PLAN = CopyPlan((), ((root("x"), root("y")), (root("z"),)), 3 * 1024 * 1024, 1024)


class Service:
    """A deployed stack in which something happens whenever the command waits; then, nothing more."""

    def __init__(self, *happens: Callable[["Service"], None]) -> None:
        self.stack = FakeStack(rules([mirror()], "r", rule("1.0")))
        self.clock = FakeClock()
        self.asked_at = self.clock()
        self._happens: Iterator[Callable[[Service], None]] = iter(happens)
        self.waits = 0

    def sleep(self, seconds: float) -> None:
        self.clock.advance(seconds=seconds)
        self.waits += 1
        next(self._happens, lambda _: None)(self)

    def refresh(self, *options: str) -> int:
        arguments = parse_arguments(["refresh", str(KEY), *options])
        return request_refresh(arguments, self.stack.deployed, self.clock, self.sleep)

    def put(self, record: MirrorRecord) -> None:
        self.stack.records.put(record)


def checked(state: State, result: str, *, started: bool = False, **more: Any) -> Callable[[Service], None]:
    """Let the check be made."""

    def happen(service: Service) -> None:
        note = ManualCheck(service.asked_at, service.clock(), result, started)
        values = {"upstream_digest": A, "episode": 1, "manual": note} | more
        at = service.clock()
        service.put(fresh(KEY, at, **values) if state is State.FRESH else unfresh(KEY, state, at, **values))

    return happen


def runs(service: Service) -> None:
    service.stack.refreshes.statuses[NAME] = StartResult.RUNNING


def is_planned(service: Service) -> None:
    service.stack.plans.objects[plan_key(NAME)] = msgspec.json.encode(PLAN)


def succeeds(service: Service) -> None:
    ended_at = service.asked_at - timedelta(minutes=5)  # the clock of this machine is ahead
    last = LastRefresh(ended_at, 42.0, 60.0, 3 * 1024 * 1024, f"arn:{NAME}", A)
    known = service.stack.records.stored[KEY]
    service.put(known.with_changes(state=State.FRESH, published_digest=A, last_refresh=last))


def fails(service: Service) -> None:
    failure = RefreshFailure(A, "TagImmutableError", "it is immutable.", True, 1, service.clock() + timedelta(hours=6))
    service.put(service.stack.records.stored[KEY].with_changes(state=State.BLOCKED, failure=failure))


def ends(service: Service) -> None:
    service.stack.refreshes.statuses[NAME] = StartResult.ENDED


def nothing(_service: Service) -> None:
    pass


MISSING = checked(State.MISSING, "ECR does not have the tag", started=True)


def test_check_is_queued_and_not_followed_without_waiting(capsys: pytest.CaptureFixture[str]) -> None:
    service = Service()
    assert service.refresh("--no-wait") == 0
    (request,) = service.stack.queue.sent
    assert (request.reason, request.repository, request.tags) == ("manual", REPOSITORY, ("1.0",))
    assert capsys.readouterr().out == (f"queued a check of {KEY}; it is refreshed from ghcr.io/team/app:1.0 if stale\n")
    assert service.waits == 0


def test_refresh_is_followed_to_its_end(capsys: pytest.CaptureFixture[str]) -> None:
    service = Service(nothing, MISSING, runs, is_planned, *[nothing] * 12, succeeds)
    assert service.refresh() == 0
    output = capsys.readouterr()
    assert output.out == (f"refreshed {KEY} from ghcr.io/team/app:1.0: ECR serves {A}; 3.0 MiB copied in 42 s\n")
    assert output.err.splitlines() == [
        f"pullahead: queued a check of {KEY}; it is refreshed from ghcr.io/team/app:1.0 if stale",
        "pullahead: waiting for the check, 0 s",
        "pullahead: checked: ECR does not have the tag",
        "pullahead: waiting for a slot: other refreshes run, 2 s",
        "pullahead: copying, 3 s",
        "pullahead: 3.0 MiB to copy in 3 blobs; ECR has 1.0 KiB",
        "pullahead: copying, 13 s",
    ]


def test_mirror_that_is_fresh_is_a_success(capsys: pytest.CaptureFixture[str]) -> None:
    service = Service(checked(State.FRESH, "ECR serves what upstream serves", published_digest=A))
    assert service.refresh() == 0
    assert capsys.readouterr().out == f"{KEY} is FRESH: ECR serves {A}\n"


@pytest.mark.parametrize(
    ("happens", "said"),
    [
        ([checked(State.UNKNOWN, "connection refused.")], f"{KEY} is UNKNOWN: connection refused"),
        ([checked(State.STALE, "deferred: the limit is reached")], f"{KEY} is STALE: deferred: the limit is reached"),
        ([MISSING, runs, fails], f"the refresh of {KEY} failed: it is immutable; retried in 6 h"),
        ([MISSING, ends], f"the refresh of {KEY} ended without an outcome: never copied yet; see execution {NAME}"),
        ([], f"the check of {KEY} has not run for 10 min"),
    ],
)
def test_any_other_end_is_a_failure_that_names_the_cause(
    capsys: pytest.CaptureFixture[str], happens: list[Callable[[Service], None]], said: str
) -> None:
    service = Service(*happens)
    assert service.refresh() == 1
    output = capsys.readouterr()
    assert output.err.splitlines()[-1].startswith(f"pullahead: {said}")
    assert output.out == ""


def test_result_of_an_earlier_request_is_not_taken_for_this_one(capsys: pytest.CaptureFixture[str]) -> None:
    service = Service(nothing, checked(State.UNKNOWN, "connection refused"))
    earlier = ManualCheck(service.asked_at - timedelta(seconds=1), service.asked_at, "it was fresh")
    last = LastRefresh(service.asked_at - timedelta(seconds=1), 1.0, 1.0, 1, "arn:old", B)
    service.put(fresh(KEY, service.asked_at, published_digest=B, manual=earlier, last_refresh=last))
    assert service.refresh() == 1
    assert "connection refused" in capsys.readouterr().err


def test_following_ends_at_its_time_limit(capsys: pytest.CaptureFixture[str]) -> None:
    service = Service(MISSING, runs)
    assert service.refresh("--timeout", "20") == 1
    assert service.waits == 20
    assert f"the refresh of {KEY} has not ended after 20 s; it goes on" in capsys.readouterr().err


def test_execution_that_may_not_be_seen_is_followed_by_the_record(capsys: pytest.CaptureFixture[str]) -> None:
    service = Service(MISSING, nothing, succeeds)
    service.stack.script.fail("state_of", StorageError("denied"))
    assert service.refresh() == 0
    assert service.stack.script.count("state_of") == 1
    assert "waiting for the refresh" in capsys.readouterr().err


def test_earlier_refresh_is_not_taken_for_this_one_though_this_machine_is_late(
    capsys: pytest.CaptureFixture[str],
) -> None:
    service = Service()
    earlier = LastRefresh(service.asked_at + timedelta(minutes=5), 42.0, 60.0, 1, "arn:earlier", B)
    at = service.asked_at + timedelta(minutes=6)  # by the clock of the stack
    note = ManualCheck(service.asked_at, at, "upstream moved", started=True)
    moved = unfresh(KEY, State.STALE, at, upstream_digest=A, episode=1, manual=note, last_refresh=earlier)
    service.put(moved)
    assert service.refresh("--timeout", "5") == 1
    assert "has not ended after 5 s" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("happens", "error", "refreshed"),
    [
        ([MISSING, succeeds], None, True),
        ([checked(State.FRESH, "it is", published_digest=A)], None, False),
        ([checked(State.UNKNOWN, "connection refused")], f"{KEY} is UNKNOWN: connection refused", False),
    ],
)
def test_json_has_the_outcome(
    capsys: pytest.CaptureFixture[str], happens: list[Callable[[Service], None]], error: str | None, refreshed: bool
) -> None:
    assert Service(*happens).refresh("--json", "--quiet") == (0 if error is None else 1)
    document = json.loads(capsys.readouterr().out)
    assert (document["mirror"], document["error"], document["refreshed"]) == (str(KEY), error, refreshed)
    assert document["bytes_copied"] == (3 * 1024 * 1024 if refreshed else 0)
    assert document["digest"] == (A if error is None else None)


def test_interruption_says_that_the_refresh_goes_on() -> None:
    notes = list[str]()
    service = Service(lambda _: notes.append(interruption_note()), checked(State.FRESH, "it is", published_digest=A))
    service.refresh("--quiet")
    assert notes == [f"; the check and the refresh of {KEY} go on; see `pullahead why {KEY}`"]
    assert interruption_note() == ""


def test_mirror_of_a_paused_rule_is_refused() -> None:
    service = Service()
    service.stack.pauses.pause("app")
    with pytest.raises(ConfigError, match="pullahead resume app"):
        service.refresh()
    assert service.stack.queue.sent == []


def test_mirror_without_a_rule_is_refused() -> None:
    service = Service()
    with pytest.raises(ConfigError, match="no rule selects mirror/app:9"):
        request_refresh(parse_arguments(["refresh", f"{REPOSITORY}:9"]), service.stack.deployed)


@pytest.mark.parametrize("seconds", ["0", "-1", "43201", "x"])
def test_invalid_time_limit_is_wrong_usage(seconds: str) -> None:
    with pytest.raises(SystemExit) as ended:
        parse_arguments(["refresh", str(KEY), "--timeout", seconds])
    assert ended.value.code == 2


class TestListing:
    """The listing of a rule, and the checks of what it selects."""

    TAGS = TagSelection(("2.0",), (TagPattern(PatternKind.GLOB, "1.*"),))

    def service(self, *happens: Callable[[Service], None], **changes: Any) -> Service:
        service = Service(*happens)
        service.stack = FakeStack(rules([], "r", rule(**({"tags": self.TAGS} | changes))))
        return service

    def refresh(self, service: Service, *options: str, name: str = REPOSITORY) -> int:
        arguments = parse_arguments(["refresh", name, *options])
        return request_refresh(arguments, service.stack.deployed, service.clock, service.sleep)

    @staticmethod
    def listed(*tags: str, error: str | None = None) -> Callable[[Service], None]:
        def happen(service: Service) -> None:
            note = ManualCheck(service.asked_at, service.clock(), error or "listed")
            state = State.FRESH if error is None else State.UNKNOWN
            key = RuleKey(REPOSITORY, "app")
            record = RuleRecord(key, "ghcr.io/team/app", state, service.clock(), followed=tags, manual=note)
            service.stack.records.put(record.with_changes(error=error))
            for tag in (*tags, "2.0"):
                checked = ManualCheck(service.asked_at, service.clock(), "it is fresh")
                mirror_key = MirrorKey(REPOSITORY, tag)
                service.put(fresh(mirror_key, service.clock(), published_digest=A, upstream_digest=A, manual=checked))

        return happen

    @pytest.mark.parametrize("name", [REPOSITORY, f"{REPOSITORY} (app):*"])
    def test_listing_and_what_it_selects_are_followed(self, capsys: pytest.CaptureFixture[str], name: str) -> None:
        service = self.service(nothing, self.listed("1.0", "1.1"))
        assert self.refresh(service, name=name) == 0
        (request,) = service.stack.queue.listings
        assert (request.rule, request.manual, request.upstream) == ("app", True, None)
        (names,) = service.stack.queue.sent  # which a listing leaves to the schedule
        assert (names.reason, names.repository, names.tags) == ("manual", REPOSITORY, ("2.0",))
        assert names.asked_at == request.asked_at
        output = capsys.readouterr()
        assert output.out.splitlines() == [
            f"{REPOSITORY}:{tag} is FRESH: ECR serves {A}" for tag in ("2.0", "1.0", "1.1")
        ]
        assert "listed: 2 tags selected" in output.err

    def test_listing_is_not_followed_without_waiting(self, capsys: pytest.CaptureFixture[str]) -> None:
        service = self.service()
        assert self.refresh(service, "--no-wait") == 0
        assert capsys.readouterr().out == (
            "queued a listing of ghcr.io/team/app; what rule app selects is refreshed if stale\n"
        )
        assert service.waits == 0

    def test_listing_that_fails_is_a_failure(self, capsys: pytest.CaptureFixture[str]) -> None:
        service = self.service(self.listed("1.0", error="connection refused."))
        assert self.refresh(service) == 1
        assert "the tags could not be listed: connection refused; what was selected" in capsys.readouterr().err

    def test_listing_that_never_runs_is_a_failure(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert self.refresh(self.service(), "--timeout", "5") == 1
        assert "has not run in time" in capsys.readouterr().err

    def test_json_has_the_selected_tags_and_their_ends(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert self.refresh(self.service(self.listed("1.0")), "--json", "--quiet") == 0
        document = json.loads(capsys.readouterr().out)
        assert (document["listing"], document["selected"], document["error"]) == (
            f"{REPOSITORY} (app):*",
            ["1.0"],
            None,
        )
        assert [each["mirror"] for each in document["mirrors"]] == [f"{REPOSITORY}:2.0", str(KEY)]

    @pytest.mark.parametrize(
        ("changes", "name", "words"),
        [
            ({"tags": TagSelection(("1.0",))}, REPOSITORY, "name their tags: there is nothing to list"),
            ({}, "mirror/unknown", "no rule publishes into mirror/unknown"),
            ({"on_demand": OnDemand(("*",))}, REPOSITORY, "follows what is pulled"),
        ],
    )
    def test_what_is_not_listed_is_refused(self, changes: dict[str, Any], name: str, words: str) -> None:
        service = self.service(**changes)
        with pytest.raises(ConfigError, match=words):
            self.refresh(service, name=name)
        assert (service.stack.queue.sent, service.stack.queue.listings) == ([], [])

    def test_rule_that_is_paused_is_refused(self) -> None:
        service = self.service()
        service.stack.pauses.pause("app")
        with pytest.raises(ConfigError, match="pullahead resume app"):
            self.refresh(service)

    def test_listing_of_a_namespace_is_followed_to_its_repositories(self, capsys: pytest.CaptureFixture[str]) -> None:
        def listed(service: Service) -> None:
            note = ManualCheck(service.asked_at, service.clock(), "listed")
            key = RuleKey("mirror/{path}", "app")
            paths = ("team/a", "team/b")
            service.stack.records.put(
                RuleRecord(key, "ghcr.io/team/*", State.FRESH, service.clock(), followed=paths, manual=note)
            )

        service = self.service(listed, upstream="ghcr.io/team/*", repository="mirror/{path}")
        assert self.refresh(service, name="mirror/{path} (app):*") == 0
        (request,) = service.stack.queue.listings
        assert (request.rule, request.upstream, service.stack.queue.sent) == ("app", None, [])
        output = capsys.readouterr()
        assert "listed: 2 repositories selected" in output.err
        assert "each repository is listed" in output.out

    def test_listing_of_one_repository_of_a_namespace_names_it(self) -> None:
        service = self.service(upstream="ghcr.io/team/*", repository="mirror/{path}")
        assert self.refresh(service, "--no-wait", name="mirror/team/a") == 0
        (request,) = service.stack.queue.listings
        assert (request.rule, request.upstream, service.stack.queue.sent) == ("app", "ghcr.io/team/a", [])
