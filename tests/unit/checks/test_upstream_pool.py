"""The pool of questions to registries: shares of threads, order, and errors."""

import threading
from collections.abc import Callable

import pytest

from pullahead.checks.upstream_pool import Question, UpstreamPool
from tests.fakes.script import Killed

PATIENCE_SECONDS = 10.0


class Asking:
    """A pool, its answers in the order in which they were concluded, and how many are asked at once."""

    def __init__(self) -> None:
        self.pool = UpstreamPool()
        self.concluded: list[object] = []
        self.most: dict[str, int] = {}
        self._running: dict[str, int] = {}
        self._lock = threading.Lock()

    def add(self, registry: str, ask: Callable[[], object]) -> None:
        def counted() -> object:
            with self._lock:
                self._running[registry] = self._running.get(registry, 0) + 1
                self.most[registry] = max(self._running[registry], self.most.get(registry, 0))
            try:
                return ask()
            finally:
                with self._lock:
                    self._running[registry] -= 1

        self.pool.add(Question(registry, counted, self.concluded.append))


def test_answers_and_errors_are_concluded() -> None:
    asking, error = Asking(), KeyError("defect")

    def fail() -> object:
        raise error

    asking.add("a", lambda: 1)
    asking.add("b", fail)
    asking.pool.run()
    assert sorted(map(str, asking.concluded)) == sorted(map(str, [1, error]))


def test_pool_without_questions_ends_at_once() -> None:
    asking = Asking()
    asking.pool.run()
    assert asking.concluded == []


def test_question_that_is_added_by_a_conclusion_is_asked() -> None:
    asking = Asking()
    again = Question("a", lambda: 2, asking.concluded.append)
    asking.pool.add(Question("a", lambda: 1, lambda _: asking.pool.add(again)))
    asking.pool.run()
    assert asking.concluded == [2]


@pytest.mark.parametrize("slow_registries", [1, 8])
def test_silent_registries_leave_threads_to_the_others(slow_registries: int) -> None:
    """However many questions to silent registries come first, those to the others are answered meanwhile."""
    asking, released = Asking(), threading.Event()

    def silent() -> object:
        assert released.wait(PATIENCE_SECONDS), "the questions to others waited for a silent registry"
        return "late"

    left = 60

    def concluded(_: object) -> None:
        nonlocal left
        left -= 1
        if not left:
            released.set()

    for number in range(slow_registries):
        for _ in range(50):
            asking.add(f"silent-{number}", silent)
    for number in range(3):
        for _ in range(20):
            asking.pool.add(Question(f"quick-{number}", lambda: "quick", concluded))
    asking.pool.run()
    assert asking.concluded == ["late"] * 50 * slow_registries
    assert all(most <= 8 for most in asking.most.values())
    assert sum(asking.most.values()) <= 32


def test_kill_ends_the_pool_and_leaves_questions_unasked() -> None:
    asking, ended, asked = Asking(), threading.Event(), list[str]()

    def killed() -> object:
        raise Killed("now")

    def wait_for_the_end() -> object:
        asked.append("b")
        return ended.wait(PATIENCE_SECONDS)

    asking.add("a", killed)
    for _ in range(100):
        asking.add("b", wait_for_the_end)
    with pytest.raises(Killed):
        asking.pool.run()
    ended.set()
    assert (len(asked) <= 8, asking.concluded) == (True, [])
