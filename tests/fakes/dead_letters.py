"""The dead-letter queue in memory. Implements `pullahead.dead_letters.DeadLetterQueue`."""

import itertools
from collections.abc import Sequence
from datetime import UTC, datetime

from pullahead.dead_letters import DeadLetter, DeadLetterMessage, ReceivedDeadLetters
from pullahead.errors import StorageError
from tests.fakes.script import Script

_LONG_AGO = datetime(2026, 11, 24, 8, tzinfo=UTC)


class FakeDeadLetters:
    """What was put aside is in `letters`, by id; what was put back in `queued`."""

    def __init__(self, script: Script | None = None, first_number: int = 1) -> None:
        self.script = script or Script()
        self.letters: dict[str, DeadLetter] = {}
        self.queued: list[str] = []
        self.held: set[str] = set()
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
            seen = [letter for name, letter in self.letters.items() if name not in self.held]
            self.held.update(letter.id for letter in seen[:most])
            return ReceivedDeadLetters(tuple(sorted(seen[:most], key=lambda letter: letter.since)), len(seen[most:]))

    def release(self, letters: Sequence[DeadLetter]) -> None:
        with self.script.call("release"):
            self.held.difference_update(letter.id for letter in letters)

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
        if letter.id in self.letters and letter.id not in self.held:
            raise StorageError(f"{letter.receipt} no longer stands for {letter.id}")
