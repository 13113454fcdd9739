"""Ask registries what the messages of a batch need, in parallel, so that no registry holds up another.

Each registry has a line of its own, and at most so many threads; in it, questions by events go first. A line is left
alone for a while when its registry does not answer or refuses requests for being too many: its questions are concluded
by that error, and the other lines go on. Nobody sleeps until a registry's rate allows a request: the line comes again
while others are asked, and what is left when these have their answers is concluded as not sent. So is what there is no
time for.

Decides nothing about mirrors.
"""

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from enum import Enum
from queue import Empty, SimpleQueue
from typing import Any, Final, Generic, NamedTuple, Protocol, TypeVar

from pullahead.caching import TtlCache
from pullahead.clock import Clock
from pullahead.errors import (
    DeferredError,
    RateLimitedError,
    RegistryError,
    RegistryTimeoutError,
    RegistryUnavailableError,
    Side,
)
from pullahead.mirrors.rate_limit_budget import retry_in_words, was_not_sent

_T = TypeVar("_T")
_E = TypeVar("_E", bound=RegistryError)

RESERVED_SECONDS: Final = 15.0
"""Of a function's time: for what follows the answers."""

_THREADS = 32
_THREADS_PER_REGISTRY = 8
_PATIENCE_SECONDS = 0.5  # of a batch: what may go so soon is waited for
_SHORTEST_WAIT_SECONDS = 0.05
_UNANSWERED_IN_A_ROW = 3
_SILENT_FOR = (timedelta(minutes=2), timedelta(minutes=4), timedelta(minutes=8))
"""How long a registry that does not answer is left alone, the longer the longer it is silent: to find out that it still
is takes a function up to 30 seconds, and others wait for that function."""
_REFUSING_SECONDS = 60.0  # unless the registry says for how long
_MOST_REFUSING_SECONDS = 3600.0
_MAX_REGISTRIES = 1000
_DAY = 24 * 3600.0


RemainingSeconds = Callable[[], float]
"""Tells how much time a function has left."""


def without_end() -> float:
    """Have any amount of time left, as where no function runs."""
    return float("inf")


class NotAsked(Enum):
    """Why a question was not asked, where that says nothing of the registry."""

    OUT_OF_TIME = "the function has no time left"


class Question(NamedTuple, Generic[_T]):
    """What to ask a registry, for how long at most, and what to do with the answer, which may be an error.

    `ask` runs in a thread of its own, and may raise; `conclude` runs in the thread that called `run`. `operation` and
    `reference` are for errors. `by_event`: something happened, rather than that it is time to ask.
    """

    registry: str
    operation: str
    reference: str
    seconds: float
    ask: Callable[[], _T]
    conclude: Callable[[_T | Exception | NotAsked], None]
    by_event: bool = False


class _Backoff(NamedTuple):
    """Until when a registry is left alone, and the error for that."""

    until: datetime
    error: RegistryError


class Backoffs:
    """The registries that a process leaves alone for now. For several threads.

    One that does not answer is left alone by the batch that finds that out; and by later ones, if it did not answer the
    batch before either, for two minutes, then for four, then for eight each time.
    """

    def __init__(self) -> None:
        self._known = TtlCache[str, _Backoff, datetime](_MAX_REGISTRIES)
        self._silent: dict[str, int] = {}  # batches in a row
        self._lock = threading.Lock()

    def find(self, registry: str, now: datetime) -> _Backoff | None:
        """Return why and until when a registry is left alone; None if it may be asked."""
        return self._known.get(registry, now)

    def refused(self, registry: str, backoff: _Backoff) -> None:
        """Note that a registry has had too many requests."""
        self._known.put(registry, backoff, backoff.until)

    def silent(self, registry: str, error: RegistryError, now: datetime) -> _Backoff:
        """Note that a registry does not answer a batch, and return for how long that batch leaves it alone."""
        with self._lock:
            before = self._silent.pop(registry, 0)
            self._silent[registry] = before + 1
            while len(self._silent) > _MAX_REGISTRIES:
                del self._silent[next(iter(self._silent))]
        backoff = _Backoff(now + _SILENT_FOR[min(max(0, before - 1), len(_SILENT_FOR) - 1)], error)
        if before:
            self._known.put(registry, backoff, backoff.until)
        return backoff

    def answered(self, registry: str) -> None:
        """Note that a registry answers."""
        with self._lock:
            self._silent.pop(registry, None)


class Asking(Protocol):
    """Asks several registries at once."""

    def ask(self, number: int, ask: Callable[[], Any]) -> None:
        """Begin to ask; `number` tells the answer from others."""
        ...

    def answer(self, seconds: float) -> tuple[int, Any] | None:
        """Wait for the next answer, or what was raised in its place; None if none comes in so many seconds."""
        ...

    def close(self) -> None:
        """Begin nothing more of what was asked."""
        ...


class Threads:
    """Implements `Asking` by threads."""

    def __init__(self) -> None:
        self._threads: ThreadPoolExecutor | None = None
        self._answers: SimpleQueue[tuple[int, Any]] = SimpleQueue()

    def ask(self, number: int, ask: Callable[[], Any]) -> None:
        """Ask in a thread."""
        if self._threads is None:
            self._threads = ThreadPoolExecutor(_THREADS)
        self._threads.submit(self._ask, number, ask)

    def answer(self, seconds: float) -> tuple[int, Any] | None:
        """Take an answer."""
        try:
            return self._answers.get(timeout=seconds)
        except Empty:
            return None

    def close(self) -> None:
        """Let threads end by themselves; what is asked later has others."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
            self._threads = None

    def _ask(self, number: int, ask: Callable[[], Any]) -> None:
        try:
            value = ask()
        except BaseException as error:  # noqa: BLE001 - it is raised where the answer is taken
            value = error
        self._answers.put((number, value))


class _Waiting:
    """The questions to one registry that a rate allows alike: those by events, or the others."""

    def __init__(self) -> None:
        self.questions: deque[Question[Any]] = deque()
        self.refused: _Backoff | None = None  # by a rate that Pullahead keeps to

    def may_go(self, now: datetime) -> bool:
        """Whether there is a question that may be asked, as far as is known."""
        return bool(self.questions) and (self.refused is None or self.refused.until <= now)

    def waits(self, now: datetime) -> bool:
        """Whether there are questions for which it is too early."""
        return bool(self.questions) and not self.may_go(now)


class _Line:
    """The questions to one registry, and what this batch has learned of it."""

    def __init__(self) -> None:
        self._by_event, self._others = _Waiting(), _Waiting()
        self.waiting = (self._by_event, self._others)
        self.threads_in_use = 0
        self.unanswered = 0  # in a row
        self.left_alone: _Backoff | None = None

    def waiting_like(self, question: Question[Any]) -> _Waiting:
        """Return the questions among which one belongs."""
        return self._by_event if question.by_event else self._others

    def next(self, now: datetime) -> _Waiting | None:
        """Return the questions of which one may be asked now."""
        return next((waiting for waiting in self.waiting if waiting.may_go(now)), None)


class _Running(NamedTuple):
    line: _Line
    question: Question[Any]
    until: datetime


class UpstreamPool:
    """Asks the questions of one batch. For one thread.

    `remaining_seconds` is the time of the function. `wait` waits for so many seconds.
    """

    def __init__(
        self,
        clock: Clock,
        backoffs: Backoffs | None = None,
        remaining_seconds: RemainingSeconds = without_end,
        wait: Callable[[float], object] | None = None,
        asking: Asking | None = None,
    ) -> None:
        self._clock, self._backoffs, self._remaining_seconds = clock, backoffs or Backoffs(), remaining_seconds
        self._wait = wait or threading.Event().wait
        self._patience = _PATIENCE_SECONDS
        self._lines: dict[str, _Line] = {}
        self._running: dict[int, _Running] = {}
        self._asked_of: dict[int, _Line] = {}  # also questions that were given up: they have threads until they end
        self._asked = 0
        self._asking = asking or Threads()

    def add(self, question: Question[Any]) -> None:
        """Add a question; also while another one is concluded."""
        self._lines.setdefault(question.registry, _Line()).waiting_like(question).questions.append(question)

    def run(self) -> None:
        """Conclude every question. What `conclude` raises is raised at once."""
        try:
            while self._remaining_seconds() >= RESERVED_SECONDS:
                self._ask_all()
                if self._running:
                    self._take_answer()
                elif not self._wait_for_a_turn():
                    break
        finally:
            self._asking.close()
        self._conclude_the_rest()

    # --- questions ------------------------------------------------------------------------------------------------

    def _ask_all(self) -> None:
        """Give free threads to the registries that have the fewest; the others' share is left to them."""
        now, seconds = self._clock(), self._remaining_seconds() - RESERVED_SECONDS
        most = min(_THREADS_PER_REGISTRY, max(1, _THREADS // max(1, len(self._lines))))
        for registry, line in sorted(self._lines.items(), key=lambda item: item[1].threads_in_use):
            self._leave_alone(registry, line, now)
            while line.threads_in_use < most and len(self._asked_of) < _THREADS:
                waiting = line.next(now)
                if waiting is None or waiting.questions[0].seconds > seconds:
                    break
                question = waiting.questions.popleft()
                self._asked += 1
                self._asked_of[self._asked] = line
                line.threads_in_use += 1
                self._running[self._asked] = _Running(
                    line, question, now + timedelta(seconds=min(question.seconds, _DAY))
                )
                self._asking.ask(self._asked, question.ask)

    def _leave_alone(self, registry: str, line: _Line, now: datetime) -> None:
        """Conclude the questions to a registry that is not to be asked now."""
        for waiting in line.waiting:
            backoff = (line.left_alone or self._backoffs.find(registry, now)) if waiting.questions else None
            while backoff is not None and waiting.questions:
                question = waiting.questions.popleft()
                question.conclude(_not_asked(question, backoff, now))

    def _wait_for_a_turn(self) -> bool:
        """Wait until the next question may go, if that is soon; return False if there is none, or not soon."""
        now = self._clock()
        moments = self._turns(now)
        seconds = max(_SHORTEST_WAIT_SECONDS, (min(moments) - now).total_seconds()) if moments else 0.0
        if not moments or seconds > self._patience:
            return False
        self._patience -= seconds
        self._wait(seconds)
        return True

    def _turns(self, now: datetime) -> list[datetime]:
        """List when registries that are waited for may be asked again."""
        some = [waiting for line in self._lines.values() for waiting in line.waiting if waiting.waits(now)]
        return [waiting.refused.until for waiting in some if waiting.refused is not None]

    def _conclude_the_rest(self) -> None:
        """Conclude what was refused by rate, and what there is no time for."""
        now = self._clock()
        for number, running in list(self._running.items()):
            if running.until <= now:
                self._give_up(number)
            else:
                self._running.pop(number).question.conclude(NotAsked.OUT_OF_TIME)
        while some := [waiting for line in self._lines.values() for waiting in line.waiting if waiting.questions]:
            for waiting in some:
                refused = waiting.refused if waiting.waits(now) else None
                question = waiting.questions.popleft()
                question.conclude(NotAsked.OUT_OF_TIME if refused is None else _not_asked(question, refused, now))

    # --- answers --------------------------------------------------------------------------------------------------

    def _take_answer(self) -> None:
        """Conclude the question that is answered next, or those that have taken too long."""
        now = self._clock()
        until = [*(running.until for running in self._running.values()), *self._turns(now)]
        seconds = min((min(until) - now).total_seconds(), self._remaining_seconds() - RESERVED_SECONDS)
        answer = self._asking.answer(max(_SHORTEST_WAIT_SECONDS, seconds))
        if answer is None:
            for number in [each for each, running in self._running.items() if running.until <= self._clock()]:
                self._give_up(number)
            return
        number, value = answer
        self._asked_of.pop(number).threads_in_use -= 1
        if isinstance(value, BaseException) and not isinstance(value, Exception):
            raise value
        if number in self._running:
            self._conclude(number, value)

    def _give_up(self, number: int) -> None:
        """Conclude a question whose answer is late; should it come after all, it is dropped."""
        question = self._running[number].question
        cause = f"{question.registry} did not answer within {question.seconds:g} seconds"
        self._conclude(number, _error(RegistryTimeoutError, cause, question))

    def _conclude(self, number: int, answer: Any) -> None:
        line, question, _ = self._running.pop(number)
        now = self._clock()
        if isinstance(answer, RateLimitedError) and was_not_sent(answer):
            seconds = max(_SHORTEST_WAIT_SECONDS, answer.retry_after_seconds or 0.0)
            waiting = line.waiting_like(question)
            waiting.refused = _Backoff(now + timedelta(seconds=seconds), answer)
            waiting.questions.appendleft(question)
            return
        if isinstance(answer, RateLimitedError):
            asked = answer.retry_after_seconds
            seconds = _REFUSING_SECONDS if asked is None else min(asked, _MOST_REFUSING_SECONDS)
            self._backoffs.refused(question.registry, _Backoff(now + timedelta(seconds=seconds), answer))
        if _is_unanswered(answer):
            line.unanswered += 1
            is_silent = isinstance(answer, RegistryTimeoutError) or line.unanswered >= _UNANSWERED_IN_A_ROW
            if is_silent and line.left_alone is None:
                line.left_alone = self._backoffs.silent(question.registry, answer, now)
        else:
            line.unanswered = 0
            self._backoffs.answered(question.registry)
        question.conclude(answer)


def _is_unanswered(answer: object) -> bool:
    return isinstance(answer, RegistryTimeoutError | RegistryUnavailableError) and answer.status is None


def _not_asked(question: Question[Any], backoff: _Backoff, now: datetime) -> RegistryError:
    """Make the error for a question to a registry that is left alone: silent, or limited by it or for its sake."""
    error = backoff.error
    if not isinstance(error, RateLimitedError):
        cause = f"not sent: {question.registry} did not answer another request just now ({error.cause})"
        return _error(type(error), cause, question)
    seconds, cause = max(0.0, (backoff.until - now).total_seconds()), error.cause
    if not was_not_sent(error):
        cause = f"deferred, not sent: {question.registry} has just refused another request ({error.cause})"
        cause = f"{cause}{retry_in_words(seconds)}"
    limited = _error(DeferredError if isinstance(error, DeferredError) else RateLimitedError, cause, question)
    limited.retry_after_seconds = seconds
    return limited


def _error(kind: type[_E], cause: str, question: Question[Any]) -> _E:
    return kind(cause, operation=question.operation, side=Side.UPSTREAM, reference=question.reference)
