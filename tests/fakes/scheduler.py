"""A deterministic scheduler of threads: at each call of a port, the test chooses which actor continues.

Each actor is a thread that runs alone from one call to the next. Nothing depends on the machine's scheduling, so the
same choices give the same interleaving.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.fakes.script import Killed

_PATIENCE_SECONDS = 30.0


class Actor:
    """One thread; each of its operations on shared state goes through `call`."""

    def __init__(self, name: str, work: Callable[["Actor"], None]) -> None:
        self.name = name
        self.dies_at: int | None = None  # the number of the call before which it is killed
        self.calls = 0
        self.error: Exception | None = None
        self.has_ended = False
        self._work = work
        self._go, self._stop = threading.Lock(), threading.Lock()  # released by who lets the other one go on
        self._go.acquire()
        self._stop.acquire()
        self._thread = threading.Thread(target=self._run, daemon=True, name=name)
        self._is_started = False

    @contextmanager
    def call(self) -> Iterator[None]:
        """Yield to other actors, then run the body atomically."""
        self._stop.release()
        _acquire(self._go, self.name)
        self.calls += 1
        if self.calls - 1 == self.dies_at:
            raise Killed(self.name)
        yield

    def step(self) -> None:
        """Run until the next call, or the end."""
        if not self._is_started:
            self._is_started = True
            self._thread.start()
        else:
            self._go.release()
        _acquire(self._stop, self.name)

    def _run(self) -> None:
        try:
            self._work(self)
        except Killed:
            self.error = None
        except Exception as error:  # noqa: BLE001 - raised by Scheduler.run
            self.error = error
        self.has_ended = True
        self._stop.release()


class Scheduler:
    """Runs actors. `choose` is given the number of runnable actors, and returns the index of the next."""

    def __init__(self, choose: Callable[[int], int]) -> None:
        self.choose = choose
        self._waiting: list[Actor] = []

    def add(self, actor: Actor) -> None:
        """Add an actor; actors may add others while they run."""
        self._waiting.append(actor)

    def run(self) -> None:
        """Run until all actors have ended. Raises an actor's unexpected error."""
        while self._waiting:
            actor = self._waiting[self.choose(len(self._waiting))]
            actor.step()
            if actor.has_ended:
                self._waiting.remove(actor)
                if actor.error is not None:
                    raise actor.error


def _acquire(turn: threading.Lock, name: str) -> None:
    if not turn.acquire(timeout=_PATIENCE_SECONDS):
        raise TimeoutError(f"{name} is blocked")
