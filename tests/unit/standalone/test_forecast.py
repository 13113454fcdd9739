"""The forecast of refreshes by their own plan: bytes and requests, and not a single write."""

from local.images import LocalImage, make_image, make_index
from pullahead.errors import RegistryUnavailableError
from pullahead.rules.model import Rules
from pullahead.standalone.compare import RulesComparison
from pullahead.standalone.forecast import CopyForecast, forecast
from tests.fakes.memory import FakeClock
from tests.fakes.samples import REPOSITORY, failed, mirror, rules
from tests.fakes.target import FakeTarget
from tests.fakes.upstream import FakeUpstream

SHARED = bytes(range(200))
AMD64, ARM64 = make_image([SHARED, 3000], seed=1), make_image([SHARED, 2000], seed=2, platform="linux/arm64")
INDEX = make_index([AMD64, ARM64])


class Plans:
    """The mirrors of some tags, whose refreshes are foretold after a look."""

    def __init__(self, **images: LocalImage) -> None:
        self.upstream, self.target = FakeUpstream(), FakeTarget()
        for tag, image in images.items():
            self.upstream.serve(image, f"ghcr.io/team/app:{tag}")
        self.rules: Rules = rules([mirror(tag) for tag in images])

    def forecast(self, limit: int = 1000) -> dict[str, CopyForecast]:
        looked = RulesComparison(
            self.rules, self.upstream, self.target.published_digests, FakeClock()(), lambda *_: None
        )()
        requests = [compared.refresh for compared in looked.tags if compared.refresh is not None]
        self.upstream.script.calls.clear()
        self.target.script.calls.clear()
        found = forecast(requests, self.upstream, self.target, rules=self.rules, limit=limit)
        return {key.tag: each for key, each in found.items()}


def size_of(image: LocalImage) -> int:
    return sum(len(blob) for blob in image.blobs.values())


def test_missing_repository_lacks_every_blob_and_is_not_created() -> None:
    plans = Plans(new=INDEX)
    foretold = plans.forecast()["new"]
    assert (foretold.bytes_missing, foretold.bytes_present) == (size_of(INDEX), 0)
    assert foretold.requests == len(INDEX.manifests) + len(INDEX.blobs)
    assert plans.target.script.calls == ["present_blobs"]
    assert plans.upstream.script.calls == ["get_manifest"] * 3


def test_present_blobs_are_not_counted() -> None:
    plans = Plans(new=AMD64)
    plans.target.ensure_repository(REPOSITORY)
    plans.target.hold(REPOSITORY, {digest: AMD64.read_blob(digest) for digest in AMD64.blobs})
    assert plans.forecast()["new"] == CopyForecast((), size_of(AMD64), 1)


def test_tags_of_one_digest_are_planned_once() -> None:
    plans = Plans(one=AMD64, two=AMD64)
    found = plans.forecast()
    assert found["one"] == found["two"]
    assert plans.upstream.script.calls == ["get_manifest"]


def test_unreadable_manifest_is_reported_and_the_others_are_forecast() -> None:
    plans = Plans(one=AMD64, two=ARM64)
    plans.upstream.script.fail("get_manifest", failed(RegistryUnavailableError, "down"))
    errors = [foretold.error for foretold in plans.forecast().values()]
    assert sorted(bool(error) for error in errors) == [False, True]
    assert "down" in "".join(errors)


def test_copies_beyond_the_limit_are_reported_as_not_planned() -> None:
    plans = Plans(**{f"t{number}": make_image(seed=number) for number in range(5)})
    found = plans.forecast(limit=3)
    assert sum("not planned" in each.error for each in found.values()) == 2
    assert plans.upstream.gets == 3
