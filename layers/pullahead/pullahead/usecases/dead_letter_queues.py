"""What was put aside from several queues, seen as one place. Knows of each message only where it came from."""

from collections.abc import Mapping, Sequence

from pullahead.errors import StorageError
from pullahead.ports import DeadLetter, DeadLetters, SourceQueue, Taken


class DeadLettersByQueue:
    """Satisfies `pullahead.ports.DeadLetters`: each message is let go where it was taken."""

    def __init__(self, places: Mapping[SourceQueue, DeadLetters]) -> None:
        self._places = places

    def take(self, most: int) -> Taken:
        """Take at most so many of each queue, so that a flood in one hides nothing of another."""
        found, more = list[DeadLetter](), 0
        try:
            for queue, place in self._places.items():
                taken = place.take(most)
                found += (letter._replace(queue=queue) for letter in taken.letters)
                more += taken.more
        except StorageError:
            self.release(found)
            raise
        return Taken(tuple(sorted(found, key=lambda letter: (letter.since, letter.id))), more)

    def release(self, letters: Sequence[DeadLetter]) -> None:
        """Let others see messages again, each queue's own."""
        for queue, place in self._places.items():
            if own := [letter for letter in letters if letter.queue == queue]:
                place.release(own)

    def put_back(self, letter: DeadLetter) -> None:
        """Queue a message where it came from."""
        self._places[letter.queue].put_back(letter)

    def drop(self, letter: DeadLetter) -> None:
        """Delete a message."""
        self._places[letter.queue].drop(letter)
