"""The pool of questions to registries: shares of threads, rates, silence, the function's time, and errors."""

import threading
from collections.abc import Callable
from datetime import timedelta
from functools import partial

import pytest

from pullahead.checks.upstream_pool import RESERVED_SECONDS, Backoffs, NotAsked, Question, UpstreamPool
from pullahead.errors import (
    DeferredError,
    NotFoundError,
    RateLimitedError,
    RegistryError,
    RegistryTimeoutError,
    RegistryUnavailableError,
    Side,
)
from tests.fakes.memory import FakeClock
from tests.fakes.script import Killed

PATIENCE_SECONDS = 10.0  # of a test that waits for another thread
THREADS, OF_A_REGISTRY = 32, 8


def limited(status: int | None = None, retry_after: float | None = None) -> RateLimitedError:
    kind = DeferredError if status is None and (retry_after or 0) > 60 else RateLimitedError
    cause = "too many requests" if status else "deferred, not sent: the request rate for a is used up"
    return kind(cause, operation="x", side=Side.UPSTREAM, reference="r", status=status, retry_after_seconds=retry_after)


def silent(kind: type[RegistryError] = RegistryTimeoutError) -> RegistryError:
    return kind("timed out", operation="x", side=Side.UPSTREAM, reference="r")


class Asking:
    """Batches of one process: what each registry answers, the answers as concluded, and who is asked how often."""

    def __init__(self, backoffs: Backoffs | None = None) -> None:
        self.clock, self.seconds_left = FakeClock(), 120.0
        self.backoffs = backoffs or Backoffs()
        self.waits: list[float] = []
        self.answers: dict[str, list[object]] = {}  # scripted; what is asked beyond them is answered by "ok"
        self.asked: list[str] = []
        self.concluded: list[object] = []
        self.most: dict[str, int] = {}
        self._running: dict[str, int] = {}
        self._lock = threading.Lock()
        self.new_batch()

    def new_batch(self) -> None:
        self.concluded.clear()
        self.asked.clear()
        self.pool = UpstreamPool(self.clock, self.backoffs, lambda: self.seconds_left, self.wait)

    def wait(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.clock.advance(seconds=seconds)

    def add(
        self,
        registry: str,
        ask: Callable[[], object] | None = None,
        times: int = 1,
        seconds: float = 20,
        *,
        by_event: bool = False,
    ) -> None:
        for _ in range(times):
            counted = partial(self._count, registry, ask or partial(self._answer, registry))
            reference, conclude = f"{registry}/app:1", self.concluded.append
            self.pool.add(Question(registry, "HEAD", reference, seconds, counted, conclude, by_event))

    def run(self) -> list[object]:
        self.pool.run()
        return self.concluded

    def _answer(self, registry: str) -> object:
        with self._lock:
            answer = self.answers[registry].pop(0) if self.answers.get(registry) else "ok"
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def _count(self, registry: str, ask: Callable[[], object]) -> object:
        with self._lock:
            self.asked.append(registry)
            self._running[registry] = self._running.get(registry, 0) + 1
            self.most[registry] = max(self._running[registry], self.most.get(registry, 0))
        try:
            return ask()
        finally:
            with self._lock:
                self._running[registry] -= 1


class InTurn:
    """Asks in the order in which it is told to, at once."""

    def __init__(self) -> None:
        self._answers: list[tuple[int, object]] = []

    def ask(self, number: int, ask: Callable[[], object]) -> None:
        self._answers.append((number, ask()))

    def answer(self, _seconds: float) -> tuple[int, object] | None:
        return self._answers.pop(0) if self._answers else None

    def close(self) -> None: ...


def kinds(concluded: list[object]) -> list[object]:
    return [type(each) if isinstance(each, Exception) else each for each in concluded]


def test_answers_and_errors_are_concluded() -> None:
    asking, defect, missing = Asking(), KeyError("defect"), silent(NotFoundError)
    asking.answers = {"a": [1, defect], "b": [missing]}
    asking.add("a", times=2)
    asking.add("b")
    assert sorted(map(str, asking.run())) == sorted(map(str, [1, defect, missing]))


def test_pool_without_questions_ends_at_once() -> None:
    assert Asking().run() == []


def test_question_that_is_added_by_a_conclusion_is_asked() -> None:
    asking = Asking()
    again = Question("a", "HEAD", "r", 20.0, lambda: 2, asking.concluded.append)
    asking.pool.add(Question("a", "HEAD", "r", 20.0, lambda: 1, lambda _: asking.pool.add(again)))
    assert asking.run() == [2]


class TestThreads:
    @pytest.mark.parametrize("slow_registries", [1, 8])
    def test_silent_registries_leave_threads_to_the_others(self, slow_registries: int) -> None:
        """However many questions to silent registries come first, those to the others are answered meanwhile."""
        asking, released = Asking(), threading.Event()

        def hold() -> object:
            assert released.wait(PATIENCE_SECONDS), "the questions to others waited for a silent registry"
            return "late"

        left = 60

        def concluded(_: object) -> None:
            nonlocal left
            left -= 1
            if not left:
                released.set()

        for number in range(slow_registries):
            asking.add(f"slow-{number}", hold, times=50)
        for number in range(3):
            for _ in range(20):
                asking.pool.add(Question(f"quick-{number}", "HEAD", "r", 20.0, lambda: "quick", concluded))
        assert asking.run() == ["late"] * 50 * slow_registries
        assert all(most <= OF_A_REGISTRY for most in asking.most.values())
        assert sum(asking.most.values()) <= THREADS

    def test_kill_ends_the_pool_and_leaves_questions_unasked(self) -> None:
        asking, ended = Asking(), threading.Event()

        def killed() -> object:
            raise Killed("now")

        asking.add("a", killed)
        asking.add("b", lambda: ended.wait(PATIENCE_SECONDS), times=100)
        with pytest.raises(Killed):
            asking.run()
        ended.set()
        assert (asking.asked.count("b") <= OF_A_REGISTRY, asking.concluded) == (True, [])


class TestRates:
    def test_what_may_go_soon_is_waited_for(self) -> None:
        asking = Asking()
        asking.answers["a"] = [limited(retry_after=0.2), limited(retry_after=0.2)]
        asking.add("a")
        assert asking.run() == ["ok"]
        assert asking.waits == pytest.approx([0.2, 0.2])

    def test_nobody_waits_longer_than_half_a_second_in_all(self) -> None:
        asking = Asking()
        asking.answers["a"] = [limited(retry_after=0.2)] * 100
        asking.add("a", times=3)
        assert kinds(asking.run()) == [RateLimitedError] * 3
        assert sum(asking.waits) <= 0.5

    @pytest.mark.parametrize("seconds", [None, 0.0])
    def test_refusal_without_a_time_is_repeated_a_bounded_number_of_times(self, seconds: float | None) -> None:
        asking = Asking()
        asking.answers["a"] = [limited(retry_after=seconds)] * 1000
        asking.add("a")
        assert kinds(asking.run()) == [RateLimitedError]
        assert len(asking.asked) <= 11

    def test_what_may_go_later_is_not_waited_for_and_says_when(self) -> None:
        asking = Asking()
        asking.answers["a"] = ["first", limited(retry_after=40), limited(retry_after=40)]
        asking.add("a", times=30)
        asking.run()
        assert asking.concluded[0] == "first"
        refused = [each for each in asking.concluded if isinstance(each, RateLimitedError)]
        assert len(refused) >= 30 - OF_A_REGISTRY
        assert {each.status for each in refused} == {None}
        assert all(each.retry_after_seconds == pytest.approx(40) for each in refused)
        assert all(each.reference == "a/app:1" for each in refused)
        assert asking.waits == []

    def test_paced_registry_is_asked_again_while_others_are(self) -> None:
        """Its turn comes while the batch runs anyway, and nobody sleeps for it."""
        asking = Asking()
        asking.answers["paced"] = [limited(retry_after=5)]
        asking.add("paced")
        busy = Question("busy", "HEAD", "r", 20.0, lambda: None, lambda _: go_on())

        def go_on() -> None:
            asking.clock.advance(seconds=1)
            if asking.asked.count("paced") < 2 and asking.clock() < FakeClock()() + timedelta(minutes=1):
                asking.pool.add(busy)

        asking.pool.add(busy)
        assert asking.run() == ["ok"]
        assert asking.waits == []

    def test_registry_that_refuses_is_left_alone_for_as_long_as_it_says(self) -> None:
        asking = Asking()
        asking.answers["a"] = [limited(429, retry_after=30)]
        asking.add("a", times=100)
        asking.add("b", times=3)
        asking.run()
        assert asking.concluded.count("ok") < OF_A_REGISTRY + 3
        (refusal,) = [each for each in asking.concluded if isinstance(each, RateLimitedError) and each.status == 429]
        deferred = [each for each in asking.concluded if isinstance(each, RateLimitedError) and each is not refusal]
        assert all((each.status, each.retry_after_seconds) == (None, 30) for each in deferred)
        assert "a has just refused another request (too many requests)" in str(deferred[0])
        asking.new_batch()
        asking.add("a")
        assert (kinds(asking.run()), asking.asked) == ([RateLimitedError], [])
        asking.clock.advance(seconds=30)
        asking.new_batch()
        asking.add("a")
        assert asking.run() == ["ok"]

    @pytest.mark.parametrize(("retry_after", "seconds"), [(None, 60), (10**6, 3600)])
    def test_refusal_that_does_not_say_for_how_long_or_too_long_ends(
        self, retry_after: float | None, seconds: float
    ) -> None:
        asking = Asking()
        asking.answers["a"] = [limited(429, retry_after=retry_after)]
        asking.add("a")
        asking.run()
        for left, result in ((1, [RateLimitedError]), (0, ["ok"])):
            asking.clock.now = FakeClock()() + timedelta(seconds=seconds - left)
            asking.new_batch()
            asking.add("a")
            assert kinds(asking.run()) == result


class TestEvents:
    """What an event asks for goes first, and is not held up where only the schedule's part of a rate is used up."""

    def test_questions_by_events_are_asked_before_those_that_were_added_earlier(self) -> None:
        asking, order = Asking(), list[str]()
        asking.pool = UpstreamPool(asking.clock, asking.backoffs, asking=InTurn())  # threads begin in any order
        asking.add("a", lambda: order.append("schedule"), times=3 * OF_A_REGISTRY)
        asking.add("a", lambda: order.append("event"), times=OF_A_REGISTRY, by_event=True)
        asking.run()
        assert order == ["event"] * OF_A_REGISTRY + ["schedule"] * 3 * OF_A_REGISTRY

    def test_rate_that_the_schedule_has_used_up_holds_up_no_event(self) -> None:
        asking = Asking()

        def refuse() -> object:
            raise limited(retry_after=60)

        asking.add("a", refuse, times=20)
        asking.add("a", lambda: "checked", times=20, by_event=True)
        assert kinds(asking.run()).count("checked") == 20
        assert kinds(asking.concluded).count(RateLimitedError) == 20

    def test_rate_that_events_have_used_up_holds_up_no_scheduled_check(self) -> None:
        asking = Asking()

        def refuse() -> object:
            raise limited(retry_after=60)

        asking.add("a", lambda: "checked", times=20)
        asking.add("a", refuse, times=20, by_event=True)
        assert kinds(asking.run()).count("checked") == 20

    def test_registry_that_does_not_answer_events_is_left_alone_by_the_schedule_too(self) -> None:
        asking = Asking()

        def time_out() -> object:
            raise silent()

        asking.add("a", times=50)
        asking.add("a", time_out, times=OF_A_REGISTRY, by_event=True)
        assert kinds(asking.run()).count(RegistryTimeoutError) >= 50
        assert asking.most["a"] <= OF_A_REGISTRY


class TestSilence:
    def test_registry_that_times_out_is_left_alone_for_the_rest_of_the_batch(self) -> None:
        asking = Asking()
        asking.answers["a"] = [silent()] * OF_A_REGISTRY
        asking.add("a", times=100)
        asking.add("b", times=3)
        asking.run()
        assert asking.asked.count("a") <= 2 * OF_A_REGISTRY
        assert asking.concluded.count("ok") - 3 <= OF_A_REGISTRY
        left_alone = [each for each in asking.concluded if "not sent" in str(each)]
        assert len(left_alone) >= 100 - 2 * OF_A_REGISTRY
        assert {type(each) for each in left_alone} == {RegistryTimeoutError}
        assert str(left_alone[0]) == (
            "HEAD of a/app:1 at the upstream failed: not sent: a did not answer another request just now (timed out)."
        )

    def test_next_batch_asks_it_again_and_those_after_it_only_after_two_minutes(self) -> None:
        asking = Asking()
        for _ in range(2):
            asking.answers["a"] = [silent()]
            asking.new_batch()
            asking.add("a")
            assert (kinds(asking.run()), asking.asked) == ([RegistryTimeoutError], ["a"])
        asking.new_batch()
        asking.add("a", times=5)
        assert (kinds(asking.run()), asking.asked) == ([RegistryTimeoutError] * 5, [])
        asking.clock.advance(minutes=2)
        asking.new_batch()
        asking.add("a", times=5)
        assert (asking.run(), len(asking.asked)) == (["ok"] * 5, 5)

    def test_registry_that_stays_silent_is_asked_again_after_two_then_four_then_every_eight_minutes(self) -> None:
        asking = Asking()

        def is_asked() -> bool:
            asking.answers["a"] = [silent()]
            asking.new_batch()
            asking.add("a")
            asking.run()
            return bool(asking.asked)

        assert [is_asked(), is_asked()] == [True, True]
        for minutes in (2, 4, 8, 8):
            asking.clock.advance(minutes=minutes, seconds=-1)
            assert not is_asked()
            asking.clock.advance(seconds=1)
            assert is_asked()

    def test_registry_that_answers_again_is_left_alone_for_two_minutes_the_next_time(self) -> None:
        asking = Asking()
        for answer, minutes in [(silent(), 0), (silent(), 2), (silent(), 4), ("ok", 0), (silent(), 0), (silent(), 2)]:
            asking.answers["a"] = [answer]
            asking.new_batch()
            asking.add("a")
            asking.run()
            assert asking.asked == ["a"]
            asking.clock.advance(minutes=minutes)

    def test_answer_between_two_timeouts_ends_the_suspicion(self) -> None:
        asking = Asking()
        for answers in ([silent()], ["ok"], [silent()], ["ok"]):
            asking.answers["a"] = [*answers]
            asking.new_batch()
            asking.add("a")
            asking.run()
            assert asking.asked == ["a"]

    def test_registry_is_left_alone_after_three_broken_connections_in_a_row(self) -> None:
        asking = Asking()
        asking.answers["a"] = [silent(RegistryUnavailableError)] * 1000
        asking.add("a", times=100)
        assert kinds(asking.run()) == [RegistryUnavailableError] * 100
        assert 3 <= len(asking.asked) <= 3 + OF_A_REGISTRY

    def test_two_broken_connections_among_answers_stop_nothing(self) -> None:
        asking = Asking()
        asking.answers["a"] = [silent(RegistryUnavailableError), silent(RegistryUnavailableError)]
        asking.add("a", times=100)
        assert asking.run().count("ok") == 98

    def test_status_503_is_an_answer(self) -> None:
        asking = Asking()
        broken = RegistryUnavailableError("no", operation="x", side=Side.UPSTREAM, reference="r", status=503)
        asking.answers["a"] = [broken] * 100
        asking.add("a", times=100)
        asking.run()
        assert len(asking.asked) == 100

    def test_question_that_takes_too_long_is_given_up_and_its_late_answer_dropped(self) -> None:
        asking, released = Asking(), threading.Event()

        def hang() -> object:
            asking.clock.advance(seconds=21)
            released.wait(PATIENCE_SECONDS)
            return "late"

        asking.add("slow", hang, seconds=0.1)  # which really passes
        asking.add("quick", times=3)
        assert sorted(map(str, kinds(asking.run()))) == sorted(map(str, [RegistryTimeoutError, *["ok"] * 3]))
        released.set()


class TestTime:
    def test_without_time_nothing_is_asked(self) -> None:
        asking = Asking()
        asking.seconds_left = RESERVED_SECONDS + 19
        asking.add("a", times=5)
        assert (asking.run(), asking.asked) == ([NotAsked.OUT_OF_TIME] * 5, [])

    def test_short_questions_are_asked_where_there_is_no_time_for_long_ones(self) -> None:
        asking = Asking()
        asking.seconds_left = RESERVED_SECONDS + 30
        asking.add("a", seconds=60)
        asking.add("b", seconds=20)
        assert asking.run() == ["ok", NotAsked.OUT_OF_TIME]

    def test_time_that_ends_gives_back_what_was_not_asked_and_blames_no_registry(self) -> None:
        asking, ended = Asking(), threading.Event()

        def ask() -> object:
            if len(asking.asked) >= 50:
                is_first, asking.seconds_left = asking.seconds_left > 0, 0.0
                assert is_first or ended.wait(PATIENCE_SECONDS), "the pool waited for an answer it had no time for"
            return "ok"

        asking.add("a", ask, times=200)
        asking.run()
        ended.set()
        assert len(asking.concluded) == 200
        assert asking.concluded.count(NotAsked.OUT_OF_TIME) >= 200 - 50 - OF_A_REGISTRY
        assert set(asking.concluded) == {"ok", NotAsked.OUT_OF_TIME}
        asking.seconds_left = 120.0
        asking.new_batch()
        asking.add("a")
        assert asking.run() == ["ok"]

    def test_what_is_added_while_time_ends_is_given_back(self) -> None:
        asking = Asking()
        asking.seconds_left = 0.0
        again = Question("a", "HEAD", "r", 20.0, lambda: "ok", asking.concluded.append)
        asking.pool.add(Question("a", "HEAD", "r", 20.0, lambda: "ok", lambda _: asking.pool.add(again)))
        assert asking.run() == [NotAsked.OUT_OF_TIME]
