"""Event windows: the fake and DynamoDB (moto) behave the same, and processes share the counts."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pullahead.aws.event_windows import DynamoEventWindows
from pullahead.checks.ports import EVENT_WINDOW, EventWindows, WindowDecision
from pullahead.errors import StorageError
from pullahead.rules.mirror_key import MirrorKey
from tests.contract.local_services import client, moto_server, new_table
from tests.fakes.event_windows import FakeEventWindows

NOW = datetime(2026, 11, 24, 9, 5, 0, tzinfo=UTC)
KEY = MirrorKey("a", "1")
KEYS = [MirrorKey("mirror/app", f"{number}") for number in range(8)]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with moto_server() as address:
        yield address


@pytest.fixture
def dynamodb(url: str) -> Any:
    return client(url, "dynamodb")


@pytest.fixture(params=["fake", "dynamodb"])
def windows(request: pytest.FixtureRequest, dynamodb: Any) -> EventWindows:
    return FakeEventWindows() if request.param == "fake" else DynamoEventWindows(dynamodb, new_table(dynamodb))


def kinds(windows: EventWindows, key: MirrorKey, now: datetime, count: int = 4) -> list[WindowDecision]:
    return [windows.claim(key, now).when for _ in range(count)]


@pytest.mark.parametrize("key", KEYS)
def test_first_event_runs_now_second_later_and_others_are_dropped(windows: EventWindows, key: MirrorKey) -> None:
    assert kinds(windows, key, NOW) == [
        WindowDecision.RUN_NOW,
        WindowDecision.RUN_LATER,
        WindowDecision.DROP,
        WindowDecision.DROP,
    ]


@pytest.mark.parametrize("key", KEYS)
def test_second_event_is_delayed_until_the_next_window(windows: EventWindows, key: MirrorKey) -> None:
    windows.claim(key, NOW)
    delay = timedelta(seconds=windows.claim(key, NOW).delay_seconds)
    assert timedelta(0) < delay <= EVENT_WINDOW + timedelta(seconds=1)
    assert kinds(windows, key, NOW + delay, 2) == [WindowDecision.RUN_NOW, WindowDecision.RUN_LATER]


def test_dropped_event_is_followed_by_a_later_check(windows: EventWindows) -> None:
    """Whatever the moment: a merged event's own moment lies before the end of the wait of the one before it."""
    looks = list[datetime]()
    for second in range(200):
        at = NOW + timedelta(seconds=second)
        claimed = windows.claim(KEYS[0], at)
        if claimed.when is WindowDecision.DROP:
            assert looks[-1] > at
        else:
            looks.append(at + timedelta(seconds=claimed.delay_seconds))
    assert len(looks) <= 2 * (200 // 60 + 2)


def test_mirrors_have_windows_of_their_own(windows: EventWindows) -> None:
    assert [windows.claim(key, NOW).when for key in KEYS] == [WindowDecision.RUN_NOW] * len(KEYS)


@pytest.mark.parametrize(("claimed", "next_one"), [(1, WindowDecision.RUN_NOW), (2, WindowDecision.RUN_LATER)])
def test_released_claim_is_answered_as_if_it_had_not_been(
    windows: EventWindows, claimed: int, next_one: WindowDecision
) -> None:
    kinds(windows, KEY, NOW, claimed)
    windows.release(KEY, NOW)
    assert kinds(windows, KEY, NOW, 1) == [next_one]


def test_claim_that_one_process_releases_is_open_to_others(dynamodb: Any, url: str) -> None:
    table = new_table(dynamodb)
    one, other = DynamoEventWindows(dynamodb, table), DynamoEventWindows(client(url, "dynamodb"), table)
    one.claim(KEY, NOW)
    one.release(KEY, NOW)
    assert other.claim(KEY, NOW).when is WindowDecision.RUN_NOW


def test_processes_share_the_count_and_full_windows_need_no_call(dynamodb: Any, url: str) -> None:
    table, calls = new_table(dynamodb), list[str]()
    dynamodb.meta.events.register("before-call.dynamodb", lambda model, **_: calls.append(model.name))
    one, other = DynamoEventWindows(dynamodb, table), DynamoEventWindows(client(url, "dynamodb"), table)
    assert [one.claim(KEY, NOW).when, other.claim(KEY, NOW).when] == [
        WindowDecision.RUN_NOW,
        WindowDecision.RUN_LATER,
    ]
    assert kinds(one, KEY, NOW, 1000) == [WindowDecision.DROP] * 1000
    assert calls == ["UpdateItem"] * 2


def test_of_many_concurrent_events_one_runs_now_and_one_later(dynamodb: Any, url: str) -> None:
    table = new_table(dynamodb)
    several = [DynamoEventWindows(client(url, "dynamodb"), table) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        answers = Counter(claimed.when for claimed in pool.map(lambda windows: windows.claim(KEY, NOW), several))
    assert answers == {WindowDecision.RUN_NOW: 1, WindowDecision.RUN_LATER: 1, WindowDecision.DROP: 6}


def test_window_has_a_time_to_live_of_an_hour(dynamodb: Any) -> None:
    table = new_table(dynamodb)
    DynamoEventWindows(dynamodb, table).claim(KEY, NOW)
    (item,) = dynamodb.scan(TableName=table)["Items"]
    assert item["pk"]["S"].startswith("window#")
    assert 60 < int(item["expires_at"]["N"]) - NOW.timestamp() <= 7200


def test_missing_table_is_a_storage_error(dynamodb: Any) -> None:
    with pytest.raises(StorageError, match="the event window of a mirror"):
        DynamoEventWindows(dynamodb, "no-such-table").claim(KEY, NOW)
