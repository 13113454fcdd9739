"""The table of costs: from calls that are counted here, on the page as it is computed, and within the promise."""

from datetime import timedelta

import pytest

from bench import costs
from local.images import make_image
from local.registry import FakeRegistry
from pullahead.checks.timetable import ECR_ASKED_EVERY
from pullahead.mirrors.alert import AlertKind
from pullahead.mirrors.review_index import SHARDS
from pullahead.rules.admission_policy import AdmissionPolicy, ScanPolicy
from pullahead.rules.sources.state import RulesState
from tests.architecture.sam_template import read_definition, real_template
from tests.fakes.application import InMemoryService
from tests.fakes.records import fresh
from tests.fakes.samples import mirror, rules
from tests.unit.admission.held_service import B, HeldService
from tests.unit.admission.test_scanned_tags import after_event, following
from tests.unit.registry.harness import FakeTime, upstream_of

COOLING = AdmissionPolicy(min_age=timedelta(days=3))
FIRST = make_image(seed=1)
REPOSITORIES, TAGS = 10, 10  # of a batch


def fresh_mirrors() -> InMemoryService:
    """Make mirrors that are fresh and stay so."""
    mirrors = [mirror(f"{tag}", repository=f"mirror/{name}") for name in range(REPOSITORIES) for tag in range(TAGS)]
    service = InMemoryService(rules(mirrors))
    for each in mirrors:
        service.upstream.serve(FIRST, str(each.upstream))
        service.target.move_tag(each.repository, each.tag, FIRST.digest)
        known = fresh(each.key, service.clock(), upstream_digest=FIRST.digest, published_digest=FIRST.digest)
        service.records.stored[each.key] = known.with_changes(upstream=str(each.upstream))
    return service


def test_calls_of_a_batch_are_those_that_are_priced() -> None:
    service, tags, describes = fresh_mirrors(), REPOSITORIES * TAGS, 0
    every = timedelta(minutes=15)
    for _ in range(ECR_ASKED_EVERY // every):
        service.queue.sent.clear()
        service.app.schedule_checks()
        service.script.resume()
        outcomes = service.app.handle_messages(
            [request.to_json() for request in service.queue.sent], service.remaining_seconds
        )
        assert [len(outcome.results) for outcome in outcomes] == [TAGS] * costs.ASSUMED.messages_per_batch
        counted = service.script.count
        assert (counted("head_manifest"), service.records.writes) == (
            tags * costs.CALLS.heads_per_tag,
            costs.CALLS.writes,
        )
        # One BatchGetItem, which is charged by the item, and half of it for an eventually consistent one.
        assert (counted("load"), service.records.consistent_reads) == (1, 0)
        describes += counted("published_digests")
        service.clock.advance(seconds=every.total_seconds())
    assert costs.CALLS.read_units_per_tag == 0.5
    assert describes == REPOSITORIES * costs.CALLS.describe_images


def test_review_of_fresh_mirrors_reads_what_is_priced_however_many_there_are() -> None:
    service = fresh_mirrors()
    service.app.schedule_checks()
    service.rules_state.save(RulesState())
    service.app.review_records(service.remaining_seconds)  # the first one scans all records
    service.script.resume()
    reviewed = service.app.review_records(service.remaining_seconds)
    assert (reviewed.records, reviewed.scan.records, service.script.count("scan_after", "save")) == (0, 0, 0)
    incidents = [AlertKind.NOT_CHECKED, AlertKind.RULES_SKIPPED, AlertKind.RULES_BROKEN, AlertKind.RULES_EMPTY]
    consistent = service.script.count("load_heartbeat", "load_scan_state") + len(incidents)
    consistent += 1  # the paused rules, which are cached here
    assert len(SHARDS) / 2 + consistent == costs.CALLS.read_units_of_review


def test_check_fetches_one_token_for_a_repository_once_the_last_one_is_no_longer_valid() -> None:
    time = FakeTime()
    with FakeRegistry() as registry:
        registry.token_auth, registry.token_lifetime_seconds = True, 300  # as Docker Hub's
        references = [registry.reference("team/app", f"{tag}") for tag in range(TAGS)]
        for tag in range(TAGS):
            registry.push(FIRST, "team/app", f"{tag}")
        upstream = upstream_of(time=time)
        upstream.head_manifest(references[0])  # which learns how to ask for a token
        for _ in range(3):
            time.now += 15 * 60
            registry.forget_requests()
            for reference in references:
                upstream.head_manifest(reference)
            assert registry.count("GET", "/token") == costs.CALLS.tokens
            assert registry.count("HEAD") == TAGS * costs.CALLS.heads_per_tag


def test_page_says_what_is_computed() -> None:
    page = costs.PAGE.read_text(encoding="utf-8")
    assert costs.with_table(page) == page, "run `make costs`"


def test_thousand_tags_every_quarter_of_an_hour_cost_less_than_five_dollars_with_a_second_trail() -> None:
    use = costs.use_of(1000, 15)
    checks = 1000 * 4 * 730
    assert use.checks == pytest.approx(checks)
    assert use.upstream_requests == pytest.approx(checks * 1.1)  # a token for the ten tags of a repository
    # Ten tags of a repository share a call every half an hour; and three calls of each schedule.
    assert use.management_events == pytest.approx(checks / 10 / 2 + 3 * 12 * 730)
    sum_of_all, (trail, guard_duty) = sum(costs.cost_of(use).values()), costs.recording_cost(use)
    assert 0.5 < sum_of_all < 1.0
    assert sum(costs.cost_of(use, costs.FREE).values()) < 0.5
    assert 3.0 < trail < sum_of_all + trail < 5.0
    assert 0.5 < guard_duty < 1.0


def test_more_tags_or_more_checks_cost_more_everywhere() -> None:
    few, many, often = costs.use_of(1000, 15), costs.use_of(10_000, 15), costs.use_of(1000, 5)
    assert all(less <= more for less, more in zip(few, many, strict=True))
    assert (often.checks, many.checks) == pytest.approx((3 * few.checks, 10 * few.checks))
    assert all(
        left <= whole
        for left, whole in zip(costs.cost_of(few, costs.FREE).values(), costs.cost_of(few).values(), strict=True)
    )


def test_functions_and_alarms_are_those_of_the_template() -> None:
    template = real_template()
    alarms = template.resources("AWS::CloudWatch::Alarm").values()
    assert sum(sum("MetricStat" in each for each in alarm.get("Metrics", [])) or 1 for alarm in alarms) == (
        costs.ASSUMED.alarm_metrics
    )
    (event,) = template.resources("AWS::Serverless::Function")["CheckFreshnessFunction"]["Events"].values()
    assert event["Properties"]["BatchSize"] == costs.ASSUMED.messages_per_batch
    assert event["Properties"]["ScalingConfig"]["MaximumConcurrency"] == costs.ASSUMED.concurrency
    assert template.document["Globals"]["Function"]["MemorySize"] == costs.ASSUMED.function_gb * 1024
    assert (
        template.document["Parameters"]["CheckSchedule"]["Default"] == f"rate({costs.ASSUMED.schedule_minutes} minutes)"
    )


@pytest.mark.parametrize("page", ["", costs.BEGIN, f"{costs.END}"])
def test_page_without_marks_is_not_overwritten(page: str) -> None:
    with pytest.raises(ValueError, match="the page has no"):
        costs.with_table(page)


def test_hundred_thousand_tags_cost_less_than_a_dollar_a_thousand() -> None:
    assert sum(costs.cost_of(costs.use_of(100_000, 15)).values()) < 100


def with_admission(policy: AdmissionPolicy | None) -> HeldService:
    """Serve a new digest through every gate, and forget what it took before."""
    service = following(policy or COOLING)
    if policy is None:
        service.follow(None)
        service.visit()
    service.script.resume()
    service.visit(B, hours=1)
    if policy is not None:
        service.clock.advance(seconds=30)
        service.scans.found(B.digest)
        for look in service.queue.sent:
            service.use_case(look)
        after_event(service, B.digest)
        service.visit(days=3)
        service.visit(minutes=15)
    assert service.served == "B"
    return service


def test_calls_of_a_digest_that_is_held_are_those_that_are_priced() -> None:
    """Beside the calls of a digest that is not; signatures are read by an execution that is there anyway."""
    plain, held = with_admission(None), with_admission(COOLING._replace(scan=ScanPolicy()))
    counts = {name: held.script.count(name) - plain.script.count(name) for name in ("start", "save", "load", "read")}
    assert counts == {
        "start": costs.ADMISSION.executions,
        "save": costs.ADMISSION.record_writes,
        "load": costs.ADMISSION.record_reads,
        "read": costs.ADMISSION.plan_reads,
    }
    assert held.script.count("write") - plain.script.count("write") == costs.ADMISSION.plan_writes
    assert held.script.count("head_manifest") - plain.script.count("head_manifest") == costs.ADMISSION.checks
    assert held.script.count("read_scans") == 3  # at both publishes, and by one check: ECR takes nothing for that


def test_states_of_an_execution_that_finds_every_blob_are_those_that_are_priced() -> None:
    definition = read_definition(real_template())
    states, name, count = definition["States"], definition["StartAt"], 0
    while name is not None:
        count += 1
        name = states[name].get("Next", states[name].get("Default"))
    assert count == costs.ADMISSION.transitions


def test_thousand_tags_with_every_gate_cost_less_than_promised() -> None:
    checking = sum(costs.cost_of(costs.use_of(1_000, 15)).values())
    assert checking + sum(costs.admission_cost(1_000 * costs.MOVES[0]).values()) < 3
