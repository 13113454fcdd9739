"""What a tag served before it moves: kept under a tag of its own, before the move, and never what others put there."""

from datetime import timedelta

import pytest

from local.images import LocalImage, make_image
from pullahead.dashboard.explain import MirrorFacts, explain, explain_image
from pullahead.dashboard.find_subjects import has_served, parse_named_image
from pullahead.errors import RateLimitedError, TagImmutableError
from pullahead.messages import KeptPrevious, OutcomeRequest, PublishRequest, PublishResult
from pullahead.mirrors.previous import MAX_KEPT, KeptDigest, still_kept, tag_to_keep, with_kept
from pullahead.mirrors.record import MirrorRecord, State
from pullahead.refresh.plan import plan_copy
from pullahead.refresh.ports import PublishTarget
from pullahead.refresh.publish import publish_image
from pullahead.refresh.record_outcome import record_outcome
from pullahead.rules.load import load_rules
from pullahead.rules.model import NO_REFERRERS, KeepPrevious, Rules
from pullahead.rules.published_tags import previous_tag
from tests.fakes.memory import FakeClock, FakePlanStore, FakeRecords
from tests.fakes.outcomes import announcer
from tests.fakes.refreshes import BEGAN, refresh_request
from tests.fakes.samples import KEY, REPOSITORY, UPSTREAM, digest, failed, mirror, rules
from tests.fakes.script import Script
from tests.fakes.target import FakeTarget
from tests.fakes.upstream import FakeUpstream
from tests.unit.rules.test_mistakes import mirror as written
from tests.unit.rules.test_mistakes import only_problem_of

IMAGES = [make_image(seed=seed) for seed in range(6)]


DEFAULT = KeepPrevious()


class Moves:
    """A mirror whose upstream moves, and its refreshes."""

    def __init__(self, policy: KeepPrevious | None = DEFAULT) -> None:
        self.script = Script()
        self.rules: Rules = rules([mirror()._replace(referrers=NO_REFERRERS, keep_previous=policy)])
        self.target, self.plans = FakeTarget(self.script), FakePlanStore(self.script)
        self.copied_to: PublishTarget = self.target
        self.records, self.clock = FakeRecords(self.script), FakeClock(BEGAN)
        self.target.ensure_repository(REPOSITORY)
        self.episode = 0

    def move(self, image: LocalImage, *, record: bool = True) -> PublishResult:
        """Let upstream move, and refresh."""
        self.episode += 1
        known = self.records.stored.get(KEY) or MirrorRecord(KEY, UPSTREAM, State.MISSING, BEGAN)
        served = self.copied_to.published_digests(REPOSITORY, ["1.0"]).get("1.0")
        self.records.stored[KEY] = known.with_changes(
            state=State.STALE, upstream_digest=image.digest, published_digest=served, episode=self.episode
        )
        return self.publish(image, record=record)

    def publish(self, image: LocalImage, *, record: bool = True) -> PublishResult:
        request = refresh_request(image.root.descriptor, episode=self.episode)
        upstream = FakeUpstream()
        upstream.serve(image, UPSTREAM)
        planned = plan_copy(request, self.rules, upstream, self.copied_to, self.plans)
        self.upload(image)
        asked = PublishRequest(request, planned.root)
        ports = (self.rules, self.copied_to, self.plans, self.records, self.clock)
        result = publish_image(asked, *ports, lambda _tries: None)
        if record:
            execution = f"execution-{self.episode}"
            ended = OutcomeRequest(request=request, execution=execution, started_at=self.clock(), published=result)
            record_outcome(ended, self.rules, self.records, announcer(self.records, self.clock), self.clock)
        return result

    def upload(self, image: LocalImage) -> None:
        """Let the units have copied the blobs."""
        self.target.hold(REPOSITORY, {digest: image.read_blob(digest) for digest in image.blobs})

    @property
    def record(self) -> MirrorRecord:
        return self.records.stored[KEY]

    def served(self, *tags: str) -> list[str | None]:
        found = self.target.published_digests(REPOSITORY, tags)
        return [found.get(tag) for tag in tags]


def kept_tag(image: LocalImage) -> str:
    return previous_tag("1.0", image.digest)


def test_what_a_moved_tag_served_is_kept_before_it_moves() -> None:
    moves = Moves()
    assert moves.move(IMAGES[0]).kept is None
    moves.target.pushes.clear()
    moves.clock.advance(hours=1)
    assert moves.move(IMAGES[1]).kept == KeptPrevious(IMAGES[0].digest, kept_tag(IMAGES[0]))
    assert moves.target.pushes == [(IMAGES[0].digest, kept_tag(IMAGES[0])), (IMAGES[1].digest, "1.0")]
    assert moves.record.kept == (KeptDigest(IMAGES[0].digest, kept_tag(IMAGES[0]), moves.clock()),)
    assert kept_tag(IMAGES[0]) == f"1.0--previous-{IMAGES[0].digest.removeprefix('sha256:')[:12]}"


def test_every_digest_of_five_moves_has_a_tag() -> None:
    moves = Moves()
    for image in IMAGES:
        moves.move(image)
    assert moves.served(*map(kept_tag, IMAGES[:5]), "1.0") == [image.digest for image in IMAGES]
    assert [each.digest for each in moves.record.kept] == [image.digest for image in IMAGES[:5]]


def test_nothing_is_read_or_kept_where_the_rule_does_not_ask_for_it() -> None:
    moves = Moves(None)
    moves.move(IMAGES[0])
    assert moves.move(IMAGES[1]).kept is None
    assert moves.script.count("read_manifest") == 0
    assert moves.served(kept_tag(IMAGES[0])) == [None]


@pytest.mark.parametrize("kind", [RateLimitedError, TagImmutableError])
def test_tag_does_not_move_if_what_it_serves_cannot_be_kept(kind: type[RateLimitedError]) -> None:
    moves = Moves()
    moves.move(IMAGES[0])
    moves.script.fail("put_manifest", failed(kind))
    with pytest.raises(kind):
        moves.move(IMAGES[1])
    assert moves.served("1.0") == [IMAGES[0].digest]


def test_publish_that_was_killed_behind_the_move_records_what_it_has_kept() -> None:
    moves = Moves()
    moves.move(IMAGES[0])
    moves.move(IMAGES[1], record=False)  # killed: its result is lost
    assert not moves.record.kept
    assert moves.publish(IMAGES[1]).kept == KeptPrevious(IMAGES[0].digest, kept_tag(IMAGES[0]))
    assert [each.digest for each in moves.record.kept] == [IMAGES[0].digest]


def test_what_somebody_else_put_under_the_tag_is_not_kept() -> None:
    moves = Moves()
    moves.move(IMAGES[0])
    foreign = IMAGES[5]
    moves.target.hold(REPOSITORY, {digest: foreign.read_blob(digest) for digest in foreign.blobs})
    moves.target.put_manifest(REPOSITORY, foreign.root, "1.0")
    assert moves.move(IMAGES[1]).kept is None
    assert moves.served(kept_tag(foreign)) == [None]


def test_tag_without_room_for_the_name_is_moved_all_the_same() -> None:
    assert tag_to_keep("a" * 105, digest("a")) is not None
    assert tag_to_keep("a" * 106, digest("a")) is None


def test_rules_keep_the_last_digests_for_a_time_and_the_record_is_bounded() -> None:
    known: tuple[KeptDigest, ...] = ()
    for number in range(MAX_KEPT + 5):
        known = with_kept(known, KeptDigest(digest(str(number)), f"t{number}", BEGAN + timedelta(days=number)))
    assert len(known) == MAX_KEPT
    now = BEGAN + timedelta(days=MAX_KEPT + 5)
    assert [each.tag for each in still_kept(known, KeepPrevious(3, timedelta(days=90)), now)] == [
        "t102",
        "t103",
        "t104",
    ]
    assert [each.tag for each in still_kept(known, KeepPrevious(3, timedelta(days=2)), now)] == ["t104"]
    assert still_kept(known, None, now) == ()
    again = with_kept(known, KeptDigest(digest("50"), "t50", now))
    assert (again[-1].tag, len(again)) == ("t50", MAX_KEPT)


def test_why_lists_what_is_kept_and_knows_its_digests() -> None:
    moves = Moves(KeepPrevious(1, timedelta(days=90)))
    for image in IMAGES[:3]:
        moves.move(image)
    one = moves.rules.find(REPOSITORY, "1.0")
    steps = {step.about: step.text for step in explain(KEY, MirrorFacts(one, moves.record), moves.rules, moves.clock())}
    assert steps["previous"].startswith(kept_tag(IMAGES[1]))
    assert steps["previous"].endswith("; 1 no longer kept by the rules")
    assert has_served(moves.record, IMAGES[0].digest)
    named = parse_named_image(f"123456789012.dkr.ecr.eu-west-1.amazonaws.com/{REPOSITORY}:1.0@{IMAGES[0].digest}")
    (step,) = explain_image(named, "", moves.record)
    assert f"{kept_tag(IMAGES[0])} keeps it" in step.text


def test_kept_tag_is_no_mirror_by_a_pattern_or_on_demand() -> None:
    text = """\
version: 1
mirrors: [{upstream: ghcr.io/a/b, tags: ["*"], repository: m/b}]
on_demand: [{name: hub, upstream: docker.io/*, repository: "hub/{path}", allow: ["*"]}]
"""
    known = load_rules(text, source="")
    kept = previous_tag("1.0", digest("a"))
    assert known.find("m/b", "1.0") is not None
    assert known.find("m/b", kept) is None
    assert known.find("hub/library/x", "1.0") is not None
    assert known.find("hub/library/x", kept) is None


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("{count: -1}", "not a number"),
        ("{count: 51}", "out of range"),
        ("{for: 1h}", "out of range"),
        ("{for: long}", "is not a duration"),
        ("{days: 3}", "unknown key"),
    ],
)
def test_mistake_is_told(value: str, message: str) -> None:
    assert message in only_problem_of(written(keep_previous=value)).message


def test_rule_overrides_the_defaults() -> None:
    text = written(keep_previous="{count: 0}").replace("mirrors:", "defaults: {keep_previous: {for: 30d}}\nmirrors:")
    known = load_rules(text, source="")
    assert known.keeps_previous("mirror/b", "1") is None
    without = load_rules(text.replace("    keep_previous: {count: 0}\n", ""), source="")
    assert without.keeps_previous("mirror/b", "1") == KeepPrevious(3, timedelta(days=30))
