"""Actors that work at once, one step at a time: which of them goes on at each call of a port is chosen by a test.

Each actor is a thread that has the floor from one call to the next. Nothing depends on the machine's own scheduling, so
the same choices give the same play.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.fakes.script import Killed

_PATIENCE_SECONDS = 30.0


class Actor:
    """One that works; every call that others could see goes through `call`."""

    def __init__(self, name: str, work: Callable[["Actor"], None]) -> None:
        self.name = name
        self.dies_at: int | None = None  # the number of the call before which it is gone for good
        self.calls = 0
        self.error: Exception | None = None
        self.has_ended = False
        self._work = work
        self._go, self._stop = threading.Semaphore(0), threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run, daemon=True, name=name)
        self._on_stage = False

    @contextmanager
    def call(self) -> Iterator[None]:
        """Let others go on before something is asked or done; what is inside happens at one moment."""
        self._stop.release()
        _acquire(self._go, self.name)
        self.calls += 1
        if self.calls - 1 == self.dies_at:
            raise Killed(self.name)
        yield

    def step(self) -> None:
        """Go on until the next call, or the end."""
        if not self._on_stage:
            self._on_stage = True
            self._thread.start()
        else:
            self._go.release()
        _acquire(self._stop, self.name)

    def _run(self) -> None:
        try:
            self._work(self)
        except Killed:
            self.error = None
        except Exception as error:  # noqa: BLE001 - raised by whoever runs the play
            self.error = error
        self.has_ended = True
        self._stop.release()


class Stage:
    """Runs a play. `choose` is given how many actors could go on, and says which does."""

    def __init__(self, choose: Callable[[int], int]) -> None:
        self.choose = choose
        self._waiting: list[Actor] = []

    def add(self, actor: Actor) -> None:
        """Let an actor begin; others may add more while the play runs."""
        self._waiting.append(actor)

    def run(self) -> None:
        """Play until everybody has ended. Raises what an actor did not expect."""
        while self._waiting:
            actor = self._waiting[self.choose(len(self._waiting))]
            actor.step()
            if actor.has_ended:
                self._waiting.remove(actor)
                if actor.error is not None:
                    raise actor.error


def _acquire(semaphore: threading.Semaphore, name: str) -> None:
    if not semaphore.acquire(timeout=_PATIENCE_SECONDS):
        raise TimeoutError(f"{name} stands still")
