"""The cache of webhook secrets: few reads whoever calls, and the last secrets while AWS fails."""

import pytest

from pullahead.errors import ConfigError, PullaheadError, StorageError
from pullahead.webhooks.ports import SecretSet
from pullahead.webhooks.receive import SecretCache
from tests.fakes.memory import FakeClock
from tests.fakes.webhooks import FakeWebhookSecrets


class CachedSecrets:
    def __init__(self) -> None:
        self.clock, self.secrets = FakeClock(), FakeWebhookSecrets(None, "first")
        self.known = SecretCache(self.secrets, self.clock)

    @property
    def reads(self) -> int:
        return self.secrets.script.count("read_webhook_secrets")


@pytest.fixture
def known() -> CachedSecrets:
    return CachedSecrets()


def test_secrets_are_read_once_in_five_minutes(known: CachedSecrets) -> None:
    for _ in range(3):
        assert known.known.get() == SecretSet((b"first",))
    known.clock.advance(seconds=299)
    known.known.get()
    assert known.reads == 1
    known.clock.advance(seconds=1)
    known.known.get()
    assert known.reads == 2


def test_rotated_secret_is_read_after_a_minute(known: CachedSecrets) -> None:
    known.known.get()
    known.secrets.secrets = ("second", "first")
    assert known.known.get_newer() == SecretSet((b"first",))
    known.clock.advance(seconds=60)
    assert known.known.get() == SecretSet((b"first",))
    assert known.known.get_newer() == SecretSet((b"second", b"first"))


def test_wrong_secrets_cause_one_read_a_minute(known: CachedSecrets) -> None:
    for _ in range(120):
        known.clock.advance(seconds=1)
        known.known.get_newer()
    assert known.reads == 2


def test_known_secrets_are_used_while_aws_fails(known: CachedSecrets) -> None:
    known.known.get()
    known.secrets.script.fail("read_webhook_secrets", StorageError("no"))
    known.clock.advance(minutes=6)
    assert known.known.get() == SecretSet((b"first",))
    assert known.known.get() == SecretSet((b"first",))
    assert known.reads == 2


@pytest.mark.parametrize("error", [StorageError("no"), ConfigError("too short")])
def test_failure_is_raised_and_causes_one_read_in_ten_seconds(known: CachedSecrets, error: PullaheadError) -> None:
    known.secrets.script.fail("read_webhook_secrets", error, times=6)
    for _ in range(60 * 10):
        for get in (known.known.get, known.known.get_newer):
            with pytest.raises(type(error), match=str(error)):
                get()
        known.clock.advance(seconds=0.1)
    assert known.reads == 6
    assert known.known.get() == SecretSet((b"first",))


def test_invalid_secret_is_an_error_until_it_is_corrected(known: CachedSecrets) -> None:
    known.known.get()
    known.clock.advance(minutes=5)
    known.secrets.script.fail("read_webhook_secrets", ConfigError("too short"))
    for _ in range(100):
        with pytest.raises(ConfigError):
            known.known.get()
    assert known.reads == 2
    known.clock.advance(seconds=10)
    assert known.known.get() == SecretSet((b"first",))
    assert known.reads == 3
