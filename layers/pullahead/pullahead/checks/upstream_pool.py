"""Ask registries what the messages of a batch need, in parallel, so that no registry holds up another.

Each registry has a line of its own, and at most so many threads. Answers are passed on as they come. Decides nothing
about mirrors.
"""

from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import Any, Generic, NamedTuple, TypeVar

_T = TypeVar("_T")

_THREADS = 32
_THREADS_PER_REGISTRY = 8


class Question(NamedTuple, Generic[_T]):
    """What to ask a registry, and what to do with the answer, which may be an error.

    `ask` runs in a thread of its own, and may raise; `conclude` runs in the thread that called `run`.
    """

    registry: str
    ask: Callable[[], _T]
    conclude: Callable[[_T | Exception], None]


class _Line:
    """The questions to one registry."""

    def __init__(self) -> None:
        self.questions: deque[Question[Any]] = deque()
        self.running = 0


class _Answer(NamedTuple):
    line: _Line
    question: Question[Any]
    value: Any


class UpstreamPool:
    """Asks the questions of one batch. For one thread."""

    def __init__(self) -> None:
        self._lines: dict[str, _Line] = {}
        self._running = 0
        self._answers: SimpleQueue[_Answer] = SimpleQueue()

    def add(self, question: Question[Any]) -> None:
        """Add a question; also while another one is concluded."""
        self._lines.setdefault(question.registry, _Line()).questions.append(question)

    def run(self) -> None:
        """Ask until every question is concluded. What `conclude` raises is raised at once."""
        threads = ThreadPoolExecutor(_THREADS)
        try:
            self._ask_all(threads)
            while self._running:
                self._take(self._answers.get())
                self._ask_all(threads)
        finally:
            threads.shutdown(wait=False, cancel_futures=True)

    def _ask_all(self, threads: ThreadPoolExecutor) -> None:
        """Give free threads to the registries that have the fewest; the others' share is left to them."""
        most = min(_THREADS_PER_REGISTRY, max(1, _THREADS // max(1, len(self._lines))))
        for line in sorted(self._lines.values(), key=lambda line: line.running):
            while line.questions and line.running < most and self._running < _THREADS:
                question = line.questions.popleft()
                line.running += 1
                self._running += 1
                threads.submit(self._ask, line, question)

    def _ask(self, line: _Line, question: Question[Any]) -> None:
        try:
            value = question.ask()
        except BaseException as error:  # noqa: BLE001 - it is raised where the answer is taken
            value = error
        self._answers.put(_Answer(line, question, value))

    def _take(self, answer: _Answer) -> None:
        answer.line.running -= 1
        self._running -= 1
        if isinstance(answer.value, BaseException) and not isinstance(answer.value, Exception):
            raise answer.value
        answer.question.conclude(answer.value)
