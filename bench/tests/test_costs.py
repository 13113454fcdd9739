"""The table of costs: from calls that are counted here, on the page as it is computed, and within the promise."""

from datetime import timedelta

import pytest

from bench import costs
from pullahead.messages import CheckRequest
from pullahead.mirrors.record import State
from pullahead.rules.mirror_key import MirrorKey
from tests.architecture.sam_template import real_template
from tests.fakes.checks import FIRST, CheckingService
from tests.fakes.records import fresh
from tests.fakes.samples import REPOSITORY, mirror


def settled(tags: int) -> CheckingService:
    """Make mirrors that are fresh and stay so."""
    service = CheckingService([mirror(f"{number}") for number in range(tags)])
    for number in range(tags):
        service.publish(tag=f"{number}")
        key, since = MirrorKey(REPOSITORY, f"{number}"), service.clock() - timedelta(days=1)
        known = fresh(key, since, upstream_digest=FIRST.digest, published_digest=FIRST.digest)
        service.records.stored[key] = known.with_changes(upstream=f"ghcr.io/team/app:{number}")
    return service


def test_calls_of_a_message_are_those_that_are_priced() -> None:
    tags = 10
    service = settled(tags)
    request = CheckRequest(
        reason="schedule",
        repository=REPOSITORY,
        tags=tuple(map(str, range(tags))),
        asked_at=service.clock(),
    )
    assert {result.state for result in service.use_case(request)} == {State.FRESH}
    counted = service.script.count
    assert (counted("head_manifest"), counted("published_digests"), counted("load"), service.records.writes) == (
        tags * costs.CALLS.heads_per_tag,
        costs.CALLS.describe_images,
        1,  # BatchGetItem, which is charged by the item
        costs.CALLS.writes,
    )


def test_page_says_what_is_computed() -> None:
    page = costs.PAGE.read_text(encoding="utf-8")
    assert costs.with_table(page) == page, "run `make costs`"


def test_thousand_tags_every_quarter_of_an_hour_cost_less_than_two_dollars() -> None:
    use = costs.use_of(1000, 15)
    assert use.checks == 1000 * 4 * 730
    assert 1.0 < sum(costs.cost_of(use).values()) < 2.0
    assert sum(costs.cost_of(use, costs.FREE).values()) < 1.0


def test_more_tags_or_more_checks_cost_more_everywhere() -> None:
    few, many, often = costs.use_of(1000, 15), costs.use_of(10_000, 15), costs.use_of(1000, 5)
    assert all(less <= more for less, more in zip(few, many, strict=True))
    assert (often.checks, many.checks) == (3 * few.checks, 10 * few.checks)
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
    assert template.document["Globals"]["Function"]["MemorySize"] == costs.ASSUMED.function_gb * 1024
    assert (
        template.document["Parameters"]["CheckSchedule"]["Default"] == f"rate({costs.ASSUMED.schedule_minutes} minutes)"
    )


@pytest.mark.parametrize("page", ["", costs.BEGIN, f"{costs.END}"])
def test_page_without_marks_is_not_overwritten(page: str) -> None:
    with pytest.raises(ValueError, match="the page has no"):
        costs.with_table(page)
