"""Mirrors copied in one process: settings, shared blobs, and failures that do not spread."""

import threading

from local.images import LocalImage, make_image, make_index
from pullahead.errors import AccessDeniedError, ManifestRefusedError, Side
from pullahead.mirrors.record import State
from pullahead.oci.registries import RepositorySettings
from pullahead.rules.model import Rule
from pullahead.standalone.compare import RulesComparison
from pullahead.standalone.sync import SyncMirrors, SyncResult
from tests.fakes.memory import FakeClock
from tests.fakes.samples import REPOSITORY, failed, rule, rules
from tests.fakes.streaming import StreamingFakeTarget
from tests.fakes.upstream import FakeUpstream

SHARED = bytes(range(200))
AMD64, ARM64 = make_image([SHARED, 3000], seed=1), make_image([SHARED, 2000], seed=2, platform="linux/arm64")
INDEX = make_index([AMD64, ARM64])
SETTINGS = RepositorySettings(tags=(("team", "platform"),))


class Sync:
    """Rules, and tags of `ghcr.io/team/app` that upstream serves."""

    def __init__(self, *declared: Rule, **images: LocalImage) -> None:
        self.upstream, self.target = FakeUpstream(piece_bytes=1000), StreamingFakeTarget()
        for tag, image in images.items():
            self.upstream.serve(image, f"ghcr.io/team/app:{tag}")
        declared = declared or (rule(*images),)
        self.rules = rules([each.mirror(tag) for each in declared for tag in each.tags.names], "r", *declared)

    def look(self) -> RulesComparison:
        return RulesComparison(self.rules, self.upstream, self.target.published_digests, FakeClock()(), lambda *_: None)

    def run(self) -> dict[str, SyncResult]:
        requests = [compared.refresh for compared in self.look()().tags if compared.refresh is not None]
        self.target.script.calls.clear()
        sync = SyncMirrors(
            self.rules,
            self.upstream,
            self.target,
            "ecr",
            wait_after_break=lambda _: None,
            clock=lambda: 0.0,
            cpu_clock=lambda: 0.0,
        )
        return {f"{each.request.repository}:{each.request.tag}": each for each in sync(requests)}

    def states(self) -> set[State]:
        return {compared.state for compared in self.look()().tags}


def test_stale_mirrors_are_fresh_afterwards_and_the_next_run_copies_nothing() -> None:
    sync = Sync(one=AMD64, two=INDEX)
    assert sorted(sync.run()) == ["mirror/app:one", "mirror/app:two"]
    assert sync.states() == {State.FRESH}
    assert sync.run() == {}
    assert sync.target.script.calls == []


def test_repository_is_created_once_with_the_settings_of_its_rule() -> None:
    sync = Sync(rule("one", "two", settings=SETTINGS), one=AMD64, two=ARM64)
    sync.run()
    assert sync.target.made_with == {REPOSITORY: SETTINGS}
    assert sync.target.script.count("ensure_repository") == 1


def test_blob_of_several_tags_is_offered_and_sent_once() -> None:
    large = bytes(range(250)) * 20  # larger than all others, so that each copy begins with it
    sync = Sync(**{f"t{number}": make_image([large, 10 + number], seed=number) for number in range(8)})
    never = threading.Event()
    sync.upstream.script.before("open_blob", lambda: never.wait(0.2))  # meanwhile the others come to the same blob
    sync.run()
    assert len(sync.target.streamed) == len(set(sync.target.streamed))
    assert sync.target.script.count("stream_blob") == len(sync.target.streamed)
    assert sync.states() == {State.FRESH}


def test_failed_mirror_does_not_stop_the_others_and_keeps_its_tag() -> None:
    sync = Sync(rule("one"), rule("two", name="two", repository="mirror/two"), one=AMD64, two=ARM64)
    sync.target.script.fail("put_manifest", failed(ManifestRefusedError, "no", Side.TARGET))
    ended = sync.run()
    assert sorted(bool(each.error) for each in ended.values()) == [False, True]
    assert sync.states() == {State.FRESH, State.MISSING}


def test_repository_that_cannot_be_created_is_retried_for_the_next_tag() -> None:
    sync = Sync(one=AMD64, two=ARM64)
    sync.target.script.fail("ensure_repository", failed(AccessDeniedError, "no", Side.TARGET))
    assert sorted(bool(each.error) for each in sync.run().values()) == [False, True]
    assert sync.target.script.count("ensure_repository") == 2


def test_only_selected_platforms_are_copied() -> None:
    sync = Sync(rule("one", platforms=("linux/arm64",)), one=INDEX)
    (ended,) = sync.run().values()
    assert ended.summary is not None
    assert ended.summary.digest == ARM64.digest
    assert sync.target.published_digests(REPOSITORY, ["one"]) == {"one": ARM64.digest}
    assert sync.states() == {State.FRESH}


def test_compared_digest_is_copied_though_the_tag_moves_meanwhile() -> None:
    sync = Sync(one=AMD64)
    sync.upstream.script.before("get_manifest", lambda: sync.upstream.serve(ARM64, "ghcr.io/team/app:one"))
    sync.run()
    assert sync.target.published_digests(REPOSITORY, ["one"]) == {"one": AMD64.digest}
