"""Rules compared in one process: the state of each tag, the requests to both ends, and that nothing is written."""

import threading
from datetime import timedelta
from typing import Any

import pytest

from local.images import LocalImage, make_image, make_index
from pullahead.errors import AccessDeniedError, RateLimitedError, RegistryUnavailableError, Side
from pullahead.mirrors.record import State
from pullahead.oci import Descriptor, Digest, Reference
from pullahead.oci.media_types import INDEXES
from pullahead.oci.platforms import select_platforms
from pullahead.rules.admission_policy import AdmissionMode, AdmissionPolicy, FirstCopy
from pullahead.rules.model import Rule
from pullahead.rules.published_tags import NamedTag
from pullahead.rules.tag_patterns import PatternKind, TagPattern, TagSelection
from pullahead.standalone.compare import ComparisonResult, RulesComparison, TagStatus
from tests.fakes.memory import FakeClock
from tests.fakes.samples import REPOSITORY, failed, rule, rules
from tests.fakes.target import FakeTarget
from tests.fakes.upstream import FakeUpstream

AMD64, ARM64 = make_image(seed=1), make_image(seed=2, platform="linux/arm64")
WINDOWS = make_image(seed=3, platform="windows/amd64")
INDEX = make_index([AMD64, ARM64, WINDOWS])
OLD = make_image(seed=4)
WRITES = ("ensure_repository", "begin_upload", "upload_part", "complete_upload", "put_manifest", "stream_blob")


def choosing(*texts: str, kind: PatternKind = PatternKind.GLOB, **more: object) -> TagSelection:
    return TagSelection(patterns=tuple(TagPattern(kind, text) for text in texts), **more)  # type: ignore[arg-type]


class Look:
    """Upstream serves `ghcr.io/team/app:1.0`, and nothing was mirrored."""

    def __init__(self, *declared: Rule) -> None:
        self.upstream, self.target, self.progress = FakeUpstream(), FakeTarget(), list[tuple[int, int]]()
        self.rules = rules([one for each in declared if not each.is_namespace for one in each.named_mirrors])
        self.rules = rules(self.rules.mirrors, "r", *declared)
        self.serve(AMD64, "1.0")

    def serve(self, image: LocalImage, *tags: str, path: str = "ghcr.io/team/app") -> None:
        for tag in tags:
            self.upstream.serve(image, f"{path}:{tag}")

    def publish(self, digest: Digest, tag: str = "1.0", repository: str = REPOSITORY) -> None:
        self.target.move_tag(repository, tag, digest)

    def run(self) -> ComparisonResult:
        now = FakeClock()()
        published = self.target.published_digests
        return RulesComparison(
            self.rules, self.upstream, published, now, lambda *progress: self.progress.append(progress)
        )()

    def states(self) -> dict[str, State]:
        return {str(compared.mirror.key): compared.state for compared in self.run().tags}

    def one(self) -> TagStatus:
        (compared,) = self.run().tags
        return compared


def test_every_state_is_reported_and_nothing_is_written() -> None:
    look = Look(rule("1.0", "moved", "absent", "gone"))
    look.serve(AMD64, "moved", "absent")
    look.publish(AMD64.digest, "1.0")
    look.publish(OLD.digest, "moved")
    found = {compared.mirror.tag: compared for compared in look.run().tags}
    assert {tag: compared.state for tag, compared in found.items()} == {
        "1.0": State.FRESH,
        "moved": State.STALE,
        "absent": State.MISSING,
        "gone": State.GONE,
    }
    assert [tag for tag, compared in found.items() if compared.refresh is not None] == ["absent", "moved"]
    assert (found["moved"].upstream_digest, found["moved"].published_digest) == (AMD64.digest, OLD.digest)
    assert look.upstream.script.calls == ["head_manifest"] * 4
    assert look.target.script.calls == ["published_digests"]


def test_both_sides_are_asked_at_the_same_time() -> None:
    look, met = Look(rule("1.0")), threading.Barrier(2, timeout=20)
    look.upstream.script.before("head_manifest", met.wait)
    look.target.script.before("published_digests", met.wait)
    assert look.one().state is State.MISSING


def test_pattern_selects_from_one_listing_and_only_those_tags_are_checked() -> None:
    look = Look(rule(tags=choosing(">=1", kind=PatternKind.SEMVER, newest=2)), rule(name="two", tags=choosing("edge*")))
    look.serve(AMD64, "1.1", "1.2", "1.3", "edge", "latest")
    assert sorted(look.states()) == ["mirror/app:1.2", "mirror/app:1.3", "mirror/app:edge"]
    assert look.upstream.script.count("list_tags") == 1
    assert look.upstream.heads == 3


def test_tag_of_two_rules_is_checked_once() -> None:
    look = Look(rule("1.0"), rule(name="two", tags=choosing("1.*")))
    assert look.states() == {"mirror/app:1.0": State.MISSING}
    assert look.upstream.heads == 1


def test_namespace_and_each_of_its_repositories_are_listed() -> None:
    look = Look(rule(upstream="ghcr.io/team/*", repository="mirror/{path}", tags=choosing("1*")))
    look.serve(AMD64, "1.5", path="ghcr.io/team/lib")
    assert look.states() == {"mirror/team/app:1.0": State.MISSING, "mirror/team/lib:1.5": State.MISSING}
    assert look.upstream.script.count("list_repositories", "list_tags") == 3


def test_failed_listing_is_reported_and_named_tags_are_compared() -> None:
    look = Look(rule(tags=TagSelection(("1.0",), (TagPattern(PatternKind.GLOB, "2*"),))))
    look.upstream.script.fail("list_tags", failed(RateLimitedError, "slower"))
    looked = look.run()
    assert [(each.rule, each.upstream) for each in looked.unlisted] == [("app", "ghcr.io/team/app")]
    assert "slower" in looked.unlisted[0].reason
    assert [compared.state for compared in looked.tags] == [State.MISSING]


def test_listing_that_shrank_is_not_used() -> None:
    look = Look(rule(tags=choosing("1*", min_tags=2)))
    looked = look.run()
    assert looked.tags == ()
    assert "min_tags is 2" in looked.unlisted[0].reason


def test_unavailable_upstream_is_unknown() -> None:
    look = Look(rule("1.0"))
    look.upstream.script.fail("head_manifest", failed(RegistryUnavailableError, "down"))
    compared = look.one()
    assert (compared.state, compared.refresh) == (State.UNKNOWN, None)
    assert "down" in compared.reason


@pytest.mark.parametrize(
    ("kind", "state"), [(RegistryUnavailableError, State.UNKNOWN), (AccessDeniedError, State.BLOCKED)]
)
def test_failure_of_the_target_is_reported_and_other_repositories_are_compared(
    kind: type[RegistryUnavailableError | AccessDeniedError], state: State
) -> None:
    look = Look(rule("1.0"), rule("1.0", name="two", repository="mirror/two"))
    look.target.script.fail("published_digests", failed(kind, "closed", Side.TARGET))
    assert sorted(look.states().values()) == sorted([state, State.MISSING])


def test_upstream_is_not_asked_for_an_immutable_tag_that_exists() -> None:
    look = Look(rule("1.0", immutable_tags=("1.*",)))
    look.publish(OLD.digest)
    assert look.states() == {"mirror/app:1.0": State.FRESH}
    assert look.upstream.script.calls == []


def test_missing_immutable_tag_is_copied() -> None:
    assert Look(rule("1.0", immutable_tags=("1.*",))).one().refresh is not None


def chosen_digest(*platforms: str) -> Digest:
    chosen = select_platforms(INDEX.root, platforms, "sample")
    assert not isinstance(chosen, Descriptor)
    assert chosen.descriptor.media_type in INDEXES
    return chosen.descriptor.digest


@pytest.mark.parametrize("platforms", [("linux/amd64", "linux/arm64"), ("linux/arm64", "linux/amd64")])
def test_selected_platforms_are_fresh_with_their_own_digest(platforms: tuple[str, ...]) -> None:
    look = Look(rule("1.0", platforms=platforms))
    look.serve(INDEX, "1.0")
    look.publish(chosen_digest("linux/amd64", "linux/arm64"))
    assert look.one().state is State.FRESH
    assert look.upstream.script.calls == ["head_manifest", "get_manifest"]


def test_one_selected_platform_is_fresh_with_the_digest_of_its_manifest() -> None:
    look = Look(rule("1.0", platforms=("linux/arm64",)))
    look.serve(INDEX, "1.0")
    look.publish(ARM64.digest)
    assert look.one().state is State.FRESH


def test_other_platforms_than_selected_are_stale() -> None:
    look = Look(rule("1.0", platforms=("linux/arm64",)))
    look.serve(INDEX, "1.0")
    look.publish(AMD64.digest)
    compared = look.one()
    assert compared.state is State.STALE
    assert compared.refresh is not None


def test_index_of_a_missing_tag_is_not_read() -> None:
    look = Look(rule("1.0", platforms=("linux/arm64",)))
    look.serve(INDEX, "1.0")
    assert look.one().state is State.MISSING
    assert look.upstream.gets == 0


def test_missing_platform_is_blocked() -> None:
    look = Look(rule("1.0", platforms=("linux/s390x",)))
    look.serve(INDEX, "1.0")
    look.publish(AMD64.digest)
    compared = look.one()
    assert (compared.state, compared.refresh) == (State.BLOCKED, None)
    assert "linux/s390x" in compared.reason


def test_ten_thousand_tags_take_one_listing_and_one_request_to_the_target() -> None:
    look = Look(rule(tags=choosing("1.*", newest=300)))
    for number in range(10_000):
        look.serve(AMD64, f"1.{number}")
    assert len(look.run().tags) == 300
    assert look.upstream.script.count("list_tags") == 1
    assert look.upstream.heads == 300
    assert look.target.script.calls == ["published_digests"]
    assert max(look.progress) == (300, 300)


def test_tags_with_other_names_are_compared_with_the_upstream_tags_that_they_follow() -> None:
    tags = choosing("1.1*", template="{tag}-mirror", renamed=(NamedTag("1.0", "stable"),))
    look = Look(rule(tags=tags))
    look.serve(OLD, "1.1")
    look.publish(AMD64.digest, "stable")
    look.publish(AMD64.digest, "1.1-mirror")
    assert look.states() == {"mirror/app:1.1-mirror": State.STALE, "mirror/app:stable": State.FRESH}


def test_all_tags_of_a_registry_are_asked_for_on_the_connections_of_one_batch() -> None:
    tags = [f"v{number}" for number in range(300)]
    look = Look(rule(*tags))
    look.serve(AMD64, *tags)
    now, most, lock = list[int](), list[int](), threading.Lock()
    head = look.upstream.head_manifest

    def counted(reference: Reference, *, by_event: bool = False) -> Descriptor:
        with lock:
            now.append(1)
            most.append(len(now))
        found = head(reference, by_event=by_event)
        with lock:
            now.pop()
        return found

    look.upstream.head_manifest = counted  # type: ignore[method-assign]
    assert set(look.states().values()) == {State.MISSING}
    assert max(most) <= 8
    assert look.progress[-1] == (300, 300)


COOLDOWN = AdmissionPolicy(min_age=timedelta(days=3))


@pytest.mark.parametrize("published", [None, OLD.digest])
def test_what_a_rule_would_hold_is_not_copied_since_nobody_remembers_its_age(published: Digest | None) -> None:
    look = Look(rule("1.0", admit=COOLDOWN))
    if published is not None:
        look.publish(published)
    compared = look.one()
    assert (compared.state, compared.refresh) == (State.COOLING, None)
    assert "takes the memory of a deployed stack" in compared.reason


def test_tag_that_serves_what_upstream_serves_is_fresh_whatever_its_rule_demands() -> None:
    look = Look(rule("1.0", admit=COOLDOWN))
    look.publish(AMD64.digest)
    assert look.one().state is State.FRESH


@pytest.mark.parametrize("policy", [{"mode": AdmissionMode.REPORT}, {"first_copy": FirstCopy.ADMIT}])
def test_what_a_rule_lets_pass_is_copied(policy: dict[str, Any]) -> None:
    compared = Look(rule("1.0", admit=COOLDOWN._replace(**policy))).one()
    assert compared.state is State.MISSING
    assert compared.refresh is not None
    assert not compared.refresh.ahead
