"""Failed messages: when they become dead letters, and with which reason."""

import pytest

from pullahead.dead_letters import MAX_TEXT_CHARACTERS, DeadLetterPolicy, FailedDelivery, reason_text
from pullahead.errors import ConfigError, InvalidEventError, StorageError
from tests.fakes.dead_letters import FakeDeadLetters
from tests.fakes.memory import FakeClock

MOST = 5


@pytest.fixture
def place() -> FakeDeadLetters:
    return FakeDeadLetters()


def handle_failure(place: FakeDeadLetters, error: Exception, tries: int) -> bool:
    return DeadLetterPolicy(place.send, MOST, FakeClock())(FailedDelivery("body", tries), error)


@pytest.mark.parametrize("error", [StorageError("busy"), ConfigError("rules"), KeyError("x")])
@pytest.mark.parametrize(("tries", "expected"), [(1, False), (MOST - 1, False), (MOST, True), (MOST + 1, True)])
def test_retryable_error_is_a_dead_letter_at_the_last_receive(
    place: FakeDeadLetters, error: Exception, tries: int, *, expected: bool
) -> None:
    assert handle_failure(place, error, tries) is expected
    assert place.reasons == [type(error).__name__] * expected


def test_invalid_message_is_a_dead_letter_at_once_with_its_reason(place: FakeDeadLetters) -> None:
    assert handle_failure(place, InvalidEventError("no `tags`"), 1)
    (letter,) = place.letters.values()
    fields = (letter.body, letter.reason, letter.text, letter.tries, letter.since)
    assert fields == ("body", "InvalidEventError", "no `tags`", 1, FakeClock()())


def test_error_without_text_is_described_by_its_class(place: FakeDeadLetters) -> None:
    assert handle_failure(place, InvalidEventError("\x00\n"), 1)
    assert [letter.text for letter in place.letters.values()] == ["InvalidEventError"]


def test_failed_send_is_an_error(place: FakeDeadLetters) -> None:
    place.script.fail("send_dead_letter", StorageError("no"))
    with pytest.raises(StorageError):
        handle_failure(place, InvalidEventError("x"), 1)


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("one\r\n\ttwo  three ", "one two three"),
        ("a\x1b[31mred\x1b[0m\x07\ud800\ufffe", "a [31mred [0m"),
        ("größer 図", "größer 図"),
        ("GET https://u:p@h.example/a?sig=s3cr3t&x=1 failed", "GET https://h.example/a failed"),
        ("see http://h.example/a#token and https://user:pw@b.example", "see http://h.example/a and https://b.example"),
        ("why? because", "why? because"),
    ],
)
def test_text_is_one_line_without_secrets(text: str, fields: str) -> None:
    assert reason_text(text) == fields


def test_long_text_is_cut() -> None:
    assert reason_text("x" * MAX_TEXT_CHARACTERS) == "x" * MAX_TEXT_CHARACTERS
    assert reason_text("x" * (MAX_TEXT_CHARACTERS + 1)) == "x" * (MAX_TEXT_CHARACTERS - 1) + "…"
