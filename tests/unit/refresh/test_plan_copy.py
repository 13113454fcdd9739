"""What is planned from a graph of manifests, and what cannot be copied."""

import json
import threading
from collections.abc import Collection, Mapping, Sequence

import msgspec
import pytest

from local.images import LocalImage, make_image, make_index
from pullahead.errors import (
    ConfigError,
    ImageTooLargeError,
    NoLongerWantedError,
    NotFoundError,
    RepositoryMissingError,
    StorageError,
    UnsupportedMediaTypeError,
)
from pullahead.messages import PlanResult
from pullahead.oci import Digest, RawManifest, Reference, describe, media_types
from pullahead.oci.reference import parse_reference
from pullahead.oci.registries import RepositorySettings
from pullahead.refresh.create_repository import create_repository
from pullahead.refresh.plan import CopyPlan, manifest_key, plan_copy, plan_key, read_graph, unit_key
from pullahead.refresh.progress import UnitProgress
from pullahead.rules.model import Rules, SizeLimits
from tests.fakes.memory import FakePlanStore
from tests.fakes.refreshes import refresh_request
from tests.fakes.samples import REPOSITORY, UPSTREAM, mirror, rule, rules
from tests.fakes.script import Script
from tests.fakes.target import FakeTarget
from tests.fakes.upstream import FakeUpstream


class Planning:
    """An upstream image, an empty target, and the plan between them."""

    def __init__(self, image: LocalImage, *platforms: str) -> None:
        self.script = Script()
        self.image = image
        self.upstream = FakeUpstream(self.script)
        self.target = FakeTarget(self.script)
        self.plans = FakePlanStore(self.script)
        self.request = refresh_request(image.root.descriptor, platforms=platforms)
        self.rules = rules([mirror(platforms=platforms)])
        self.target.ensure_repository(REPOSITORY)
        self.script.resume()
        self.upstream.serve(image, UPSTREAM)

    def run(self) -> PlanResult:
        return plan_copy(self.request, self.rules, self.upstream, self.target, self.plans)

    @property
    def kept(self) -> CopyPlan:
        return msgspec.json.decode(self.plans.objects[plan_key(self.request.name)], type=CopyPlan)


def raw(document: object, media_type: str) -> RawManifest:
    content = json.dumps(document).encode()
    return RawManifest(describe(content, media_type), content)


def test_manifests_and_blobs_of_an_image_are_planned_and_stored() -> None:
    planning = Planning(make_image([30, 20]))
    result = planning.run()
    total = sum(map(len, (planning.image.read_blob(d) for d in planning.image.blobs)))
    assert (len(result.units), result.manifests) == (1, 1)
    assert (result.bytes_missing, result.bytes_present) == (total, 0)
    kept = planning.plans.objects[manifest_key(planning.request.name, planning.image.digest)]
    assert kept == planning.image.root.content
    unit = msgspec.json.decode(planning.plans.objects[unit_key(planning.request.name, 0)], type=UnitProgress)
    assert {blob.digest for blob in unit.blobs} == set(planning.image.blobs)
    assert unit.uploads == ()


class TestMounts:
    """Blobs that another target repository has need not be sent."""

    def test_likeliest_repositories_are_searched_first_for_missing_blobs(self) -> None:
        planning = Planning(make_image([30, 20]))
        first, second, third = planning.image.blobs
        planning.target.hold(REPOSITORY, {first: planning.image.read_blob(first)})
        others = [mirror()._replace(repository=name) for name in ("zoo/x", "mirror/other", "mirror/apple", REPOSITORY)]
        planning.rules = rules(others)
        mounts = FakeMounts({second: "mirror/apple"})
        plan_copy(
            planning.request, planning.rules, planning.upstream, planning.target, planning.plans, mounts.find_mounts
        )
        assert mounts.asked == [({second, third}, ["mirror/apple", "mirror/other", "zoo/x"])]
        unit = msgspec.json.decode(planning.plans.objects[unit_key(planning.request.name, 0)], type=UnitProgress)
        assert unit.mounts == {second: "mirror/apple"}

    def test_no_repository_is_searched_where_no_blob_is_missing(self) -> None:
        planning = Planning(make_image([30]))
        planning.target.hold(REPOSITORY, {digest: planning.image.read_blob(digest) for digest in planning.image.blobs})
        mounts = FakeMounts({})
        plan_copy(
            planning.request, planning.rules, planning.upstream, planning.target, planning.plans, mounts.find_mounts
        )
        assert mounts.asked == []


class FakeMounts:
    def __init__(self, found: dict[Digest, str]) -> None:
        self._found = found
        self.asked: list[tuple[set[Digest], list[str]]] = []

    def find_mounts(self, digests: Collection[Digest], repositories: Sequence[str]) -> Mapping[Digest, str]:
        self.asked.append((set(digests), list(repositories)))
        return self._found


def test_units_read_by_digest() -> None:
    planning = Planning(make_image())
    planning.upstream.remove(UPSTREAM)
    (unit,) = planning.run().units
    assert unit.upstream == f"ghcr.io/team/app@{planning.image.digest}"


def test_index_of_indexes_is_planned_children_first_with_shared_blobs_once() -> None:
    shared = b"a base layer"
    amd, arm = make_image([shared, 10], seed=1), make_image([shared, 20], seed=2, platform="linux/arm64")
    inner = make_index([amd, arm])
    planning = Planning(make_index([inner, amd]))
    result = planning.run()
    order = [descriptor.digest for descriptor in planning.kept.manifests]
    assert order == [amd.digest, arm.digest, inner.digest, planning.image.digest]
    copied = [blob.digest for unit in planning.kept.units for blob in unit]
    assert sorted(copied) == sorted(set(copied)) == sorted(planning.image.blobs)
    assert planning.script.count("get_manifest") == 4
    assert result.manifests == 4


def test_present_blob_is_not_planned() -> None:
    planning = Planning(make_image([30, 20]))
    blobs = {digest: planning.image.read_blob(digest) for digest in planning.image.blobs}
    planning.target.hold(REPOSITORY, blobs)
    result = planning.run()
    assert (result.units, result.bytes_missing) == ((), 0)
    assert result.bytes_present == sum(map(len, blobs.values()))


@pytest.mark.parametrize(("urls", "units"), [(["https://example.com/layer"], 0), ([], 1), (None, 1)])
def test_foreign_layers_are_not_planned_if_they_have_a_url(urls: list[str] | None, units: int) -> None:
    foreign = {"mediaType": min(media_types.FOREIGN_LAYERS), "digest": "sha256:" + "a" * 64, "size": 10, "urls": urls}
    manifest = raw({"schemaVersion": 2, "layers": [foreign]}, media_types.OCI_MANIFEST)
    planning = Planning(LocalImage(manifest, {manifest.descriptor.digest: manifest}, {}))
    assert len(planning.run().units) == units


def test_missing_repository_is_reported_before_upstream_is_asked() -> None:
    planning = Planning(make_image())
    planning.target.drop_repository(REPOSITORY)
    with pytest.raises(RepositoryMissingError):
        planning.run()
    assert planning.script.calls == ["has_repository"]
    create_repository(planning.request, planning.rules, planning.target)
    assert planning.run().manifests == 1


@pytest.mark.parametrize("known", [rules([]), rules([mirror(repository="mirror/other")])])
def test_refresh_that_no_rule_names_asks_and_creates_nothing(known: Rules) -> None:
    planning = Planning(make_image())
    planning.rules = known
    with pytest.raises(NoLongerWantedError, match="no rule names it any more"):
        planning.run()
    with pytest.raises(NoLongerWantedError):
        create_repository(planning.request, known, planning.target)
    assert planning.script.calls == []


def test_digest_that_is_to_be_published_is_returned() -> None:
    image = make_index([make_image(seed=1), make_image(seed=2, platform="linux/arm64")])
    assert Planning(image).run().root == image.digest
    planning = Planning(image, "linux/arm64")
    assert planning.run().root == planning.kept.manifests[-1].digest != image.digest


def test_plan_is_stored_after_everything_that_it_names() -> None:
    planning = Planning(make_index([make_image(seed=1), make_image(seed=2)]))
    planning.script.fail("write", StorageError("no"), after=True, passing=1)
    with pytest.raises(StorageError):
        planning.run()
    assert plan_key(planning.request.name) not in planning.plans.objects
    planning.run()
    assert list(planning.plans.objects)[-1] == plan_key(planning.request.name)


def test_plan_is_deterministic() -> None:
    planning = Planning(make_index([make_image(seed=1), make_image(seed=2)]))
    first, kept = planning.run(), dict(planning.plans.objects)
    assert planning.run() == first
    assert planning.plans.objects == kept


class TestPlatforms:
    AMD, ARM = make_image([20], seed=1), make_image([30], seed=2, platform="linux/arm64")
    S390X = make_image([40], seed=3, platform="linux/s390x")
    INDEX = make_index([AMD, ARM, S390X])

    def test_smaller_index_is_planned_without_the_other_platforms(self) -> None:
        planning = Planning(self.INDEX, "linux/amd64", "linux/arm64")
        assert planning.run().manifests == 3
        *children, root = planning.kept.manifests
        assert [child.digest for child in children] == [self.AMD.digest, self.ARM.digest]
        assert root.digest != self.INDEX.digest
        content = planning.plans.objects[manifest_key(planning.request.name, root.digest)]
        assert [child["digest"] for child in json.loads(content)["manifests"]] == [self.AMD.digest, self.ARM.digest]
        copied = {blob.digest for unit in planning.kept.units for blob in unit}
        assert copied == {*self.AMD.blobs, *self.ARM.blobs}
        assert planning.script.count("get_manifest") == 3

    def test_same_platforms_in_another_order_make_the_same_index(self) -> None:
        plans = [
            Planning(self.INDEX, *names) for names in (("linux/amd64", "linux/arm64"), ("linux/arm64", "linux/amd64"))
        ]
        for planning in plans:
            planning.run()
        assert plans[0].kept == plans[1].kept

    def test_one_platform_is_planned_as_upstream_has_it(self) -> None:
        planning = Planning(self.INDEX, "linux/arm64")
        planning.run()
        assert planning.kept.manifests == (self.ARM.root.descriptor,)

    def test_all_platforms_keep_the_digest(self) -> None:
        planning = Planning(self.INDEX, "linux/amd64", "linux/arm64", "linux/s390x")
        planning.run()
        assert planning.kept.manifests[-1] == self.INDEX.root.descriptor

    def test_single_manifest_is_planned_whatever_its_platform(self) -> None:
        planning = Planning(self.AMD, "linux/arm64")
        planning.run()
        assert planning.kept.manifests == (self.AMD.root.descriptor,)

    def test_missing_platform_is_named_with_those_that_exist(self) -> None:
        planning = Planning(self.INDEX, "linux/amd64", "linux/riscv64")
        with pytest.raises(
            ConfigError, match="no platform linux/riscv64; it has linux/amd64, linux/arm64, linux/s390x"
        ):
            planning.run()
        assert planning.plans.objects == {}


class TestRepositorySettings:
    @pytest.mark.parametrize("settings", [RepositorySettings(scan_on_push=True), None])
    def test_missing_repository_is_created_with_the_settings_of_its_rule(
        self, settings: RepositorySettings | None
    ) -> None:
        """Where the rule has none, the target chooses."""
        request, target = refresh_request(make_image().root.descriptor), FakeTarget()
        create_repository(request, rules([mirror()], "rules-1", rule("1.0", settings=settings)), target)
        assert target.made_with == {REPOSITORY: settings}


class TestRefused:
    def test_schema_1_is_refused(self) -> None:
        manifest = raw({"schemaVersion": 1, "fsLayers": []}, media_types.DOCKER_SCHEMA1_SIGNED)
        planning = Planning(LocalImage(manifest, {manifest.descriptor.digest: manifest}, {}))
        with pytest.raises(UnsupportedMediaTypeError, match="schema 1"):
            planning.run()

    def test_schema_1_below_an_index_is_named_by_its_digest(self) -> None:
        child = raw({"schemaVersion": 1}, media_types.DOCKER_SCHEMA1)
        planning = Planning(make_index([LocalImage(child, {child.descriptor.digest: child}, {})]))
        with pytest.raises(UnsupportedMediaTypeError, match=child.descriptor.digest):
            planning.run()

    @pytest.mark.parametrize(
        "content", [b"{", b"[]", b'{"layers": [{}]}', b'{"layers":[{"mediaType":"x","digest":"md5:1","size":1}]}']
    )
    def test_malformed_manifest_is_refused(self, content: bytes) -> None:
        manifest = RawManifest(describe(content, media_types.OCI_MANIFEST), content)
        planning = Planning(LocalImage(manifest, {manifest.descriptor.digest: manifest}, {}))
        with pytest.raises(UnsupportedMediaTypeError):
            planning.run()
        assert planning.plans.objects == {}

    def test_index_of_too_many_manifests_is_refused_before_all_are_read(self) -> None:
        images = [make_image([b"layer %d" % n], seed=n) for n in range(1001)]
        planning = Planning(make_index(images))
        with pytest.raises(UnsupportedMediaTypeError, match="more than 1000 manifests"):
            planning.run()
        assert planning.script.count("get_manifest") == 1

    def test_children_are_read_at_once(self) -> None:
        index = make_index([make_image(seed=number) for number in range(5)])
        met = threading.Barrier(5, timeout=20)

        class Upstream:
            def get_manifest(self, reference: Reference) -> RawManifest:
                manifest = index.manifests[Digest(str(reference.digest))]
                if manifest is not index.root:
                    met.wait()
                return manifest

        source = parse_reference("ghcr.io/team/app:1")
        raw, graph = read_graph(source, index.root.descriptor, Upstream())
        assert raw.keys() == graph.keys() == index.manifests.keys()

    def test_manifests_of_too_many_bytes_are_refused(self) -> None:
        children = [make_image(seed=n) for n in range(30)]
        padded = [_padded(child, 3 * 1024 * 1024) for child in children]
        planning = Planning(make_index(padded))
        with pytest.raises(UnsupportedMediaTypeError, match="bytes in total"):
            planning.run()
        assert planning.script.count("get_manifest") < 30

    def test_index_whose_child_is_missing_is_not_found(self) -> None:
        child = make_image(seed=1)
        planning = Planning(make_index([child]))
        planning.upstream.remove(f"ghcr.io/team/app@{child.digest}")
        with pytest.raises(NotFoundError, match=child.digest):
            planning.run()
        assert planning.plans.objects == {}


def test_failure_of_the_plans_bucket_is_retryable() -> None:
    planning = Planning(make_image())
    planning.script.fail("write", StorageError("no"))
    with pytest.raises(StorageError):
        planning.run()


def _padded(image: LocalImage, size: int) -> LocalImage:
    """Make the same image again with so many bytes of white space in its manifest."""
    content = image.root.content + b" " * size
    root = RawManifest(describe(content, image.root.descriptor.media_type), content)
    return LocalImage(root, {root.descriptor.digest: root}, image.blobs, image.platform)


class TestSizes:
    """What the manifests say decides: no byte of a layer is read, and ECR is not asked for any."""

    @pytest.mark.parametrize(
        ("sizes", "words"),
        [
            (SizeLimits(layer=2999), r"the layer sha256:\w+ has 2\.9 KiB, and `max_layer_size` is 2\.9 KiB"),
            (SizeLimits(image=3000), r"its layers have .* in all, and `max_image_size` is 2\.9 KiB"),
        ],
    )
    def test_image_that_is_too_large_is_refused_before_anything_is_stored(self, sizes: SizeLimits, words: str) -> None:
        planning = Planning(make_image([3000, 20]))
        planning.rules = rules([mirror()._replace(sizes=sizes)])
        planning.script.calls.clear()
        with pytest.raises(ImageTooLargeError, match=words) as caught:
            planning.run()
        assert str(caught.value).endswith("raise the limit in its rule, and run `pullahead refresh`.")
        assert not caught.value.retryable
        assert (planning.plans.objects, "present_blobs" in planning.script.calls) == ({}, False)

    def test_image_of_exactly_the_limit_is_planned(self) -> None:
        image = make_image([3000, 20])
        planning = Planning(image)
        total = sum(map(len, image.blobs.values()))
        planning.rules = rules([mirror()._replace(sizes=SizeLimits(layer=3000, image=total))])
        assert planning.run().bytes_missing == total

    @pytest.mark.parametrize("size", [52_000 * 1024**2 + 1, 2**63 - 1])
    def test_layer_above_ecrs_limit_is_refused_by_default(self, size: int) -> None:
        with pytest.raises(ImageTooLargeError, match=r"max_layer_size` is 50\.8 GiB"):
            Planning(with_layers([size])).run()

    def test_many_layers_of_ecrs_limit_are_refused_by_default(self) -> None:
        with pytest.raises(ImageTooLargeError, match=r"max_image_size` is 500\.0 GiB"):
            Planning(with_layers([52_000 * 1024**2] * 10)).run()

    def test_platforms_of_an_index_count_together(self) -> None:
        index = make_index([make_image([3000], seed=seed, platform=f"linux/{seed}") for seed in (1, 2)])
        planning = Planning(index)
        planning.rules = rules([mirror()._replace(sizes=SizeLimits(image=6000))])
        with pytest.raises(ImageTooLargeError, match="its layers have 6"):
            planning.run()

    def test_platforms_that_are_left_out_do_not_count(self) -> None:
        images = [make_image([3000], seed=1), make_image([9000], seed=2, platform="linux/arm64")]
        planning = Planning(make_index(images), "linux/amd64")
        planning.rules = rules([mirror(platforms=("linux/amd64",))._replace(sizes=SizeLimits(image=6000))])
        assert planning.run().bytes_missing < 6000

    def test_manifest_of_too_many_layers_is_refused(self) -> None:
        with pytest.raises(UnsupportedMediaTypeError, match="more than 20000 layers"):
            Planning(with_layers([1] * 20_001)).run()


def with_layers(sizes: Sequence[int]) -> LocalImage:
    """Make an image that only says that it has layers of these sizes."""
    layers = [{"mediaType": "l", "digest": f"sha256:{number:064x}", "size": size} for number, size in enumerate(sizes)]
    root = raw({"schemaVersion": 2, "layers": layers}, media_types.OCI_MANIFEST)
    return LocalImage(root, {root.descriptor.digest: root}, {})
