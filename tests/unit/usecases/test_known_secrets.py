"""The secrets of senders: read seldom, whoever calls, and still known while AWS is not there."""

import pytest

from pullahead.errors import StorageError
from pullahead.usecases.known_secrets import KnownSecrets
from tests.fakes.memory import FakeClock
from tests.fakes.webhooks import FakeWebhookSecrets


class Known:
    def __init__(self) -> None:
        self.clock, self.secrets = FakeClock(), FakeWebhookSecrets(None, "first")
        self.known = KnownSecrets(self.secrets, self.clock)

    @property
    def reads(self) -> int:
        return self.secrets.script.count("read_webhook_secrets")


@pytest.fixture
def known() -> Known:
    return Known()


def test_secrets_are_read_once_in_five_minutes(known: Known) -> None:
    for _ in range(3):
        assert known.known.get() == (b"first",)
    known.clock.advance(seconds=299)
    known.known.get()
    assert known.reads == 1
    known.clock.advance(seconds=1)
    known.known.get()
    assert known.reads == 2


def test_secret_that_was_replaced_is_read_again_within_a_minute(known: Known) -> None:
    known.known.get()
    known.secrets.secrets = ("second", "first")
    assert known.known.get_newer() == (b"first",)
    known.clock.advance(seconds=60)
    assert known.known.get() == (b"first",)
    assert known.known.get_newer() == (b"second", b"first")


def test_calls_that_do_not_fit_make_one_read_a_minute(known: Known) -> None:
    for _ in range(120):
        known.clock.advance(seconds=1)
        known.known.get_newer()
    assert known.reads == 2


def test_known_secrets_outlive_a_failure_of_aws(known: Known) -> None:
    known.known.get()
    known.secrets.script.fail("read_webhook_secrets", StorageError("no"))
    known.clock.advance(minutes=6)
    assert known.known.get() == (b"first",)
    assert known.known.get() == (b"first",)
    assert known.reads == 2


def test_failure_before_the_first_secret_is_told(known: Known) -> None:
    known.secrets.script.fail("read_webhook_secrets", StorageError("no"))
    with pytest.raises(StorageError):
        known.known.get()
    assert known.known.get() == (b"first",)
