"""The dead-letter queue in memory. Implements `pullahead.dead_letters.DeadLetterQueue`."""

import itertools
from collections.abc import Sequence
from datetime import UTC, datetime

from pullahead.dead_letters import DeadLetter, DeadLetterMessage, ReceivedDeadLetters
from pullahead.errors import StorageError
from tests.fakes.script import Script

_LONG_AGO = datetime(2026, 11, 24, 8, tzinfo=UTC)


class FakeDeadLetters:
    """Dead letters are in `letters`, by id; redriven messages in `queued`."""

    def __init__(self, script: Script | None = None, first_number: int = 1) -> None:
        self.script = script or Script()
        self.letters: dict[str, DeadLetter] = {}
        self.queued: list[str] = []
        self.in_flight: set[str] = set()
        self._numbers = itertools.count(first_number)

    @property
    def reasons(self) -> list[str | None]:
        """Name the reasons, in order."""
        return [letter.reason for letter in self.letters.values()]

    def send(self, message: DeadLetterMessage) -> None:
        with self.script.call("send_dead_letter"):
            self.keep(message.body, message.reason, message.text, message.failed_at, message.tries)

    def keep(
        self,
        body: str,
        reason: str | None = None,
        text: str = "",
        since: datetime = _LONG_AGO,
        tries: int | None = None,
    ) -> DeadLetter:
        """Hold a message, by default as the queue itself puts it here."""
        name = f"{next(self._numbers):08x}-0000-4000-8000-000000000000"
        self.letters[name] = DeadLetter(name, f"receipt-{name}", body, since, reason, text, tries)
        return self.letters[name]

    def take(self, most: int) -> ReceivedDeadLetters:
        with self.script.call("take"):
            visible = [letter for name, letter in self.letters.items() if name not in self.in_flight]
            self.in_flight.update(letter.id for letter in visible[:most])
            return ReceivedDeadLetters(
                tuple(sorted(visible[:most], key=lambda letter: letter.since)), len(visible[most:])
            )

    def release(self, letters: Sequence[DeadLetter]) -> None:
        with self.script.call("release"):
            self.in_flight.difference_update(letter.id for letter in letters)

    def put_back(self, letter: DeadLetter) -> None:
        self._taken(letter)
        with self.script.call("put_back"):
            self.queued.append(letter.body)
        self.drop(letter)

    def drop(self, letter: DeadLetter) -> None:
        self._taken(letter)
        with self.script.call("drop"):
            self.letters.pop(letter.id, None)

    def _taken(self, letter: DeadLetter) -> None:
        if letter.id in self.letters and letter.id not in self.in_flight:
            raise StorageError(f"{letter.receipt} no longer stands for {letter.id}")
