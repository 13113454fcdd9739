"""How long a credential is cached, and how often it is looked up."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from pullahead.aws.upstream_credentials import CachedCredential, CredentialCache, LookupFailedError
from pullahead.errors import AccessDeniedError
from pullahead.registry.credentials import Credential
from tests.unit.registry.harness import FakeTime

OLD, NEW = Credential("me", "old"), Credential("me", "new")


class Source:
    """Has a credential that can be replaced, or none."""

    def __init__(self, time: FakeTime) -> None:
        self.time, self.credential, self.asked = time, OLD, 0
        self.fails = False

    def look_up(self) -> CachedCredential:
        self.asked += 1
        if self.fails:
            raise LookupFailedError(AccessDeniedError, "there is none", "make one")
        return CachedCredential(self.credential, self.time() + 300)


@pytest.fixture
def time() -> FakeTime:
    return FakeTime()


@pytest.fixture
def source(time: FakeTime) -> Source:
    return Source(time)


def test_credential_is_looked_up_once_while_it_is_valid(time: FakeTime, source: Source) -> None:
    kept = CredentialCache(time)
    for _ in range(5):
        assert kept.get("key", source.look_up) == OLD
    time.now += 299
    kept.get("key", source.look_up)
    assert source.asked == 1


def test_expired_credential_is_looked_up_again(time: FakeTime, source: Source) -> None:
    kept = CredentialCache(time)
    kept.get("key", source.look_up)
    source.credential = NEW
    time.now += 300
    assert kept.get("key", source.look_up) == NEW


def test_every_key_has_its_own_credential(time: FakeTime, source: Source) -> None:
    kept = CredentialCache(time)
    kept.get("key", source.look_up)
    source.credential = NEW
    assert kept.get("other", source.look_up) == NEW


def test_refused_credential_is_looked_up_again(time: FakeTime, source: Source) -> None:
    kept = CredentialCache(time)
    kept.get("key", source.look_up)
    source.credential = NEW
    time.now += 60
    kept.refuse("key", OLD)
    assert kept.get("key", source.look_up) == NEW


def test_refusals_cause_at_most_one_look_up_a_minute(time: FakeTime, source: Source) -> None:
    kept = CredentialCache(time)
    for _ in range(60):
        kept.refuse("key", kept.get("key", source.look_up))
        time.now += 2
    assert source.asked == 2


def test_late_refusal_of_the_old_credential_keeps_the_new_one(time: FakeTime, source: Source) -> None:
    kept = CredentialCache(time)
    source.credential = NEW
    kept.get("key", source.look_up)
    time.now += 60
    kept.refuse("key", OLD)
    kept.get("key", source.look_up)
    assert source.asked == 1


def test_failed_look_up_is_repeated_after_a_minute(time: FakeTime, source: Source) -> None:
    kept = CredentialCache(time)
    source.fails = True
    for _ in range(5):
        with pytest.raises(LookupFailedError) as caught:
            kept.get("key", source.look_up)
        assert (caught.value.cause, caught.value.advice) == ("there is none", "make one")
    assert source.asked == 1
    source.fails = False
    time.now += 60
    assert kept.get("key", source.look_up) == OLD


def test_concurrent_requests_share_one_look_up(time: FakeTime, source: Source) -> None:
    kept = CredentialCache(time)
    all_ask = threading.Barrier(6)

    def ask(_: int) -> Credential:
        all_ask.wait(10)
        return kept.get("key", source.look_up)

    with ThreadPoolExecutor(6) as pool:
        assert set(pool.map(ask, range(6))) == {OLD}
    assert source.asked == 1
