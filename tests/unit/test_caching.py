"""The cache: what is kept, for how long, how much of it, and who loads."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from pullahead.caching import Expiring, TtlCache


@pytest.fixture
def cache() -> TtlCache[str, str, float]:
    return TtlCache(3)


def test_value_is_returned_until_it_expires(cache: TtlCache[str, str, float]) -> None:
    cache.put("a", "value", expires_at=10.0)
    assert [cache.get("a", now) for now in (0.0, 9.9, 10.0, 11.0)] == ["value", "value", None, None]


def test_time_may_be_a_datetime() -> None:
    cache, now = TtlCache[str, str, datetime](), datetime(2026, 11, 24, tzinfo=UTC)
    cache.put("a", "value", now + timedelta(minutes=1))
    assert cache.get("a", now) == "value"
    assert cache.get("a", now + timedelta(minutes=1)) is None


def test_oldest_entry_is_dropped_beyond_the_bound(cache: TtlCache[str, str, float]) -> None:
    for key in ("a", "b", "c", "a", "d"):
        cache.put(key, key, expires_at=10.0)
    assert [cache.get(key, 0.0) for key in "abcd"] == ["a", None, "c", "d"]


def test_value_is_loaded_once_until_it_expires(cache: TtlCache[str, str, float]) -> None:
    loads = iter([Expiring("first", 5.0), Expiring("second", 10.0)])
    values = [cache.get_or_load("a", now, lambda: next(loads)) for now in (0.0, 4.9, 5.0, 9.9)]
    assert values == ["first", "first", "second", "second"]


def test_failed_load_is_raised_and_not_kept(cache: TtlCache[str, str, float]) -> None:
    def fail() -> Expiring[str, float]:
        raise OSError("down")

    with pytest.raises(OSError, match="down"):
        cache.get_or_load("a", 0.0, fail)
    assert cache.get_or_load("a", 0.0, lambda: Expiring("value", 1.0)) == "value"


def test_discarded_value_is_loaded_again(cache: TtlCache[str, str, float]) -> None:
    value = cache.get_or_load("a", 0.0, lambda: Expiring("old", 10.0))
    cache.discard("a", value)
    cache.discard("a", value)
    assert cache.get_or_load("a", 0.0, lambda: Expiring("new", 10.0)) == "new"


def test_newer_value_is_not_discarded_with_the_older_one() -> None:
    cache = TtlCache[str, list[str], float]()
    older, newer = ["same"], ["same"]
    cache.put("a", older, 10.0)
    cache.put("a", newer, 10.0)
    cache.discard("a", older)
    assert cache.get("a", 0.0) is newer


def test_threads_that_ask_for_one_key_share_one_load(cache: TtlCache[str, str, float]) -> None:
    loads = list[str]()

    def load() -> Expiring[str, float]:
        loads.append("load")
        return Expiring("value", 10.0)

    with ThreadPoolExecutor(8) as pool:
        values = list(pool.map(lambda _: cache.get_or_load("a", 0.0, load), range(64)))
    assert (values, loads) == (["value"] * 64, ["load"])


def test_load_of_one_key_does_not_wait_for_another(cache: TtlCache[str, str, float]) -> None:
    other_is_loaded = threading.Event()

    def wait() -> Expiring[str, float]:
        assert other_is_loaded.wait(60)
        return Expiring("a", 10.0)

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(cache.get_or_load, "a", 0.0, wait)
        assert cache.get_or_load("b", 0.0, lambda: Expiring("b", 10.0)) == "b"
        other_is_loaded.set()
        assert first.result() == "a"
