"""Whatever upstream does, and whatever one clock says: nothing is served early, and a tag goes on moving."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from hypothesis import example, given
from hypothesis import strategies as st

from pullahead.admission.choose import Choice, choose
from pullahead.admission.seen_digests import MAX_SEEN, MAX_TAKEN_BACK, SeenDigests, after_admitted, after_served
from pullahead.oci import Digest
from pullahead.rules.admission_policy import AdmissionPolicy, Serve
from tests.fakes.samples import digest, root
from tests.unit.admission.stories import START, step

HOUR = timedelta(hours=1)
POLICY = AdmissionPolicy(min_age=24 * HOUR)
policies = st.sampled_from([POLICY, POLICY._replace(serve=Serve.CURRENT)])


class Move(NamedTuple):
    """What a check finds, so long after the one before. `wrong_by` is what one of its clocks is wrong by."""

    after: timedelta
    what: str
    wrong_by: timedelta = timedelta()


moves = st.lists(
    st.builds(
        Move,
        st.sampled_from([HOUR / 4, HOUR, 5 * HOUR, 23 * HOUR, 24 * HOUR, 100 * HOUR]),
        st.sampled_from(["A", "B", "C", "D", "E", "gone", "-A", "-B"]),
        st.sampled_from([timedelta(), timedelta(), -1000 * HOUR, -20 * HOUR, 20 * HOUR, 1000 * HOUR]),
    ),
    max_size=25,
)


class Presence:
    """What a person who looks on knows: since when each digest is or was under the tag, for as long as it counts."""

    def __init__(self) -> None:
        self.first: dict[Digest, datetime] = {}
        self.order: list[Digest] = []

    def see(self, what: str, now: datetime) -> None:
        if what == "gone":
            self._forget(list(self.order))
        elif what.startswith("-"):
            self._forget([digest(what[1:])])
        elif (found := digest(what)) in self.order:
            self._forget(self.order[self.order.index(found) + 1 :])
            self.order = [each for each in self.order if each != found] + [found]
        else:
            self.order.append(found)
            self.first.setdefault(found, now)

    def _forget(self, lost: Sequence[Digest]) -> None:
        self.order = [each for each in self.order if each not in lost]
        for each in lost:
            self.first.pop(each, None)


@given(moves, policies, st.booleans())
@example([Move(HOUR, "A"), Move(HOUR, "B"), Move(HOUR, "A"), Move(24 * HOUR, "B")], POLICY, True)
def test_no_digest_is_served_before_its_time(story: list[Move], policy: AdmissionPolicy, publishes: bool) -> None:
    """A check has two clocks, and the publish one of its own; in each check one of the three may be wrong."""
    seen, truth, now = SeenDigests(), Presence(), START
    for number, move in enumerate(story):
        now += move.after
        wrong = [now, now, now]
        wrong[number % 3] += move.wrong_by
        own, asked_at, publishing = wrong
        seen = step(seen, move.what, max(own, asked_at)).after
        truth.see(move.what, now)
        chosen = choose(seen, policy, own).serve
        if chosen is None or choose(seen, policy, publishing).serve != chosen:
            continue
        assert chosen.admitted or now - truth.first[chosen.digest] >= policy.min_age
        if publishes and not chosen.admitted:
            seen = after_admitted(seen, chosen.root, now)


@given(moves)
def test_memory_has_its_limits_and_repeated_checks_change_nothing(story: list[Move]) -> None:
    seen, now = SeenDigests(), START
    for move in story:
        now += move.after
        seen = step(seen, move.what, now).after
        assert len(seen.seen) <= MAX_SEEN
        assert len(seen.taken_back) <= MAX_TAKEN_BACK
        assert len({each.digest for each in seen.seen}) == len(seen.seen)
        assert step(seen, move.what, now + HOUR) == (seen, ())


def end_of_wait(decided: Choice) -> datetime | None:
    return decided.waiting.hold.until if decided.waiting is not None else None


def follow(served: Sequence[tuple[datetime, str]], until: datetime, policy: AdmissionPolicy) -> list[Digest]:
    """Check what upstream serves, publish what may be served, and list what the tag has served.

    There is a check when upstream moves, and when something is old enough: those between change nothing.
    """
    seen, published, left, now = SeenDigests(), list[Digest](), list(served), START
    what = left.pop(0)[1]
    while now < until:
        while left and left[0][0] <= now:
            what = left.pop(0)[1]
        seen = after_served(seen, root(what), now).after
        decided = choose(seen, policy, now)
        if decided.serve is not None and decided.serve.digest not in published[-1:]:
            seen = after_admitted(seen, decided.serve.root, now)
            published.append(decided.serve.digest)
        moments = [left[0][0]] if left else []
        now = min([*moments, *([moment] if (moment := end_of_wait(decided)) is not None else [])], default=until)
    return published


@given(st.integers(1, 200), st.sampled_from([24, 72, 240]))
@example(1, 720)
@example(24, 72)
def test_tag_that_is_rebuilt_again_and_again_goes_on_moving(every: int, hours: int) -> None:
    """At the end, what the tag serves is at most the cooldown and a few rebuilds behind."""
    count = max(8, 3 * hours // every)
    served = [(START + number * every * HOUR, str(number)) for number in range(count)]
    end = served[-1][0]
    published = follow(served, end, POLICY._replace(min_age=hours * HOUR))
    names = {digest(name): number for number, (_, name) in enumerate(served)}
    numbers = [names[each] for each in published]
    assert numbers == sorted(numbers)
    behind = (end - served[numbers[-1]][0]) / HOUR if numbers else 0
    spacing = max(every, hours / 8)  # of what is remembered
    assert behind <= hours + 2 * spacing + 1
    assert numbers or hours >= count * every


@given(st.integers(1, 12), st.integers(1, 12))
def test_upstream_that_serves_two_digests_in_turn_does_not_starve_the_tag(first: int, second: int) -> None:
    served = []
    now = START
    while now < START + timedelta(days=60):
        served += [(now, "A"), (now + first * HOUR, "B")]
        now += (first + second) * HOUR
    published = follow(served, now, POLICY)
    assert digest("A") in published
    assert digest("B") not in published  # it is taken back each time
