"""What arrives with an image: the corpus, copied by the service and by the command line, and pulled back.

Upstreams: a scripted registry with the API for referrers, and Debian's docker-registry, which has fallback tags alone.
Targets: the local ECR, and docker-registry.
"""

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import pytest
from msgspec import structs

from local import artifacts
from local.images import LocalImage, make_image, push_image
from local.registry import FakeRegistry
from local.tests.ecr.harness import RunningEcr, running_ecr
from pullahead.checks.check import CheckMirrors
from pullahead.ecr.quotas import EcrPace
from pullahead.ecr.target import EcrTarget
from pullahead.messages import CheckRequest, PublishRequest, ReferrersOutcome, RefreshRequest
from pullahead.mirrors.record import State
from pullahead.oci import Reference, Repository, parse_reference
from pullahead.oci.referrers import COSIGN_SUFFIXES
from pullahead.oci.registries import CopyTarget
from pullahead.refresh.copy_unit import CopyUnit
from pullahead.refresh.create_repository import create_repository
from pullahead.refresh.plan import plan_copy
from pullahead.refresh.publish import publish_image
from pullahead.registry.client import UpstreamRegistry
from pullahead.registry.push import OciTarget
from pullahead.rules.load import load_rules
from pullahead.rules.model import ReferrersPolicy, UpstreamSettings
from pullahead.standalone.copy_image import CopyOptions, copy_image
from pullahead.standalone.sync import NoProgress
from tests.contract.referrers.corpus import Belonging, CorpusImage, make_corpus
from tests.contract.referrers.plain_client import PlainReferrersClient, PulledAll
from tests.fakes.checks import CheckingService
from tests.fakes.memory import FakeClock, FakePlanStore, FakeRecords
from tests.fakes.refreshes import BEGAN
from tests.real_servers import docker_registry

pytestmark = pytest.mark.real_registry
CORPUS = make_corpus()
_NAMES = itertools.count(1)


class Upstream(NamedTuple):
    """A registry to copy from, and what is pushed to it."""

    host: str
    scripted: FakeRegistry | None

    def push_image(self, image: LocalImage, repository: str) -> None:
        if self.scripted is not None:
            self.scripted.push(image, repository, "1.0")
        else:
            push_image(image, f"http://{self.host}", repository, "1.0")

    def push_belongings(self, corpus: CorpusImage, repository: str) -> None:
        for artifact, tag in corpus.belongings:
            if self.scripted is not None:
                self.scripted.push(artifact, repository, tag)
            else:
                push_image(artifact, f"http://{self.host}", repository, tag or artifact.digest)
        if self.scripted is None:
            for tag, index in corpus.fallback_indexes().items():
                kept = LocalImage(index, {index.descriptor.digest: index}, {})
                push_image(kept, f"http://{self.host}", repository, tag)

    def client(self) -> UpstreamRegistry:
        settings = UpstreamSettings(self.host, plain_http=True, private_addresses=True)
        return UpstreamRegistry(lambda _: settings)


@pytest.fixture(scope="module")
def docker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with docker_registry(tmp_path_factory.mktemp("registry")) as host:
        yield host


@pytest.fixture(scope="module")
def ecr(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEcr]:
    with running_ecr(tmp_path_factory.mktemp("ecr")) as running:
        yield running


@pytest.fixture(params=["api", "fallback-tags"])
def upstream(request: pytest.FixtureRequest, docker: str) -> Iterator[Upstream]:
    if request.param == "fallback-tags":
        yield Upstream(docker, None)
        return
    with FakeRegistry() as scripted:
        scripted.referrers_page = 7
        yield Upstream(scripted.host, scripted)


class ServiceCopy:
    """Copies to ECR as the functions of a refresh do."""

    def __init__(self, upstream: Upstream, ecr: RunningEcr, repository: str) -> None:
        self._upstream, self._ecr, self.repository = upstream.client(), ecr, repository
        self._source = f"{upstream.host}/{repository}:1.0"
        self._target = EcrTarget(ecr.client, EcrPace(sleep=lambda _seconds: None, clock=itertools.count().__next__))
        self._runs = itertools.count(1)
        rule = f'{{upstream: {upstream.host}/{repository}, tags: ["1.0"], repository: {repository}}}'
        self.rules = load_rules(f"version: 1\nmirrors: [{rule}]", source="rules.yaml")

    def run(self) -> ReferrersOutcome | None:
        number = next(self._runs)
        request = RefreshRequest(
            name=f"refresh-{number}",
            repository=self.repository,
            tag="1.0",
            upstream=self._source,
            root=self._upstream.head_manifest(parse_reference(self._source)),
            episode=1,
            stale_since=BEGAN,
            late="" if number == 1 else f"late-{number}",
        )
        plans = FakePlanStore()
        create_repository(request, self.rules, self._target)
        plan = plan_copy(request, self.rules, self._upstream, self._target, plans)
        copy_unit = CopyUnit(self._upstream, self._target, plans, lambda _breaks: None, threads=4)
        for unit in (*plan.units, *plan.referrer_units):
            assert copy_unit(unit, lambda: 900.0).done
        asked = PublishRequest(request, plan.root)
        return publish_image(
            asked, self.rules, self._target, plans, FakeRecords(), FakeClock(), lambda _breaks: None
        ).referrers

    def pull_back(self) -> PulledAll:
        return PlainReferrersClient(self._ecr.url, self.repository, self._ecr.authorization()).pull_all("1.0")


class CommandLineCopy:
    """Copies to docker-registry as `pullahead copy --referrers` does."""

    def __init__(self, upstream: Upstream, host: str, repository: str) -> None:
        self._upstream, self._host, self.repository = upstream, host, repository
        self._target: CopyTarget = OciTarget(host, plain_http=True)

    def run(self) -> ReferrersOutcome | None:
        return copy_image(
            parse_reference(f"{self._upstream.host}/{self.repository}:1.0"),
            Reference(Repository(self._host, f"copied/{self.repository}"), "1.0"),
            upstream=self._upstream.client(),
            destination=self._target,
            wait_after_break=lambda _breaks: None,
            progress=NoProgress(),
            clock=itertools.count().__next__,
            cpu_clock=itertools.count().__next__,
            options=CopyOptions(referrers=ReferrersPolicy()),
        ).referrers

    def pull_back(self) -> PulledAll:
        return PlainReferrersClient(f"http://{self._host}", f"copied/{self.repository}").pull_all("1.0")


@pytest.fixture(params=["ecr", "docker-registry"])
def copy(
    request: pytest.FixtureRequest, upstream: Upstream, ecr: RunningEcr, docker: str
) -> ServiceCopy | CommandLineCopy:
    repository = f"corpus/number-{next(_NAMES)}"
    if request.param == "ecr":
        return ServiceCopy(upstream, ecr, repository)
    return CommandLineCopy(upstream, docker, repository)


SMALL = [name for name in CORPUS if name != "150-referrers"]


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("late", [False, True], ids=["with-the-image", "late"])
def test_all_that_belongs_to_an_image_is_pulled_back(
    name: str, late: bool, upstream: Upstream, copy: ServiceCopy | CommandLineCopy
) -> None:
    check_pull(name, upstream, copy, late=late)


def test_150_late_referrers_of_one_digest_are_pulled_back(ecr: RunningEcr) -> None:
    with FakeRegistry() as scripted:
        scripted.referrers_page = 50
        upstream = Upstream(scripted.host, scripted)
        check_pull("150-referrers", upstream, ServiceCopy(upstream, ecr, "corpus/many"), late=True)


def test_150_referrers_of_one_digest_are_kept_in_a_fallback_tag(docker: str) -> None:
    with FakeRegistry() as scripted:
        scripted.referrers_page = 50
        upstream = Upstream(scripted.host, scripted)
        check_pull("150-referrers", upstream, CommandLineCopy(upstream, docker, "corpus/many"), late=False)


def check_pull(name: str, upstream: Upstream, copy: ServiceCopy | CommandLineCopy, *, late: bool) -> None:
    corpus, repository = CORPUS[name], copy.repository
    upstream.push_image(corpus.image, repository)
    if late:
        outcome = copy.run()
        assert outcome is not None
        assert outcome.copied == 0
        assert copy.pull_back() == PulledAll(frozenset(corpus.image.manifests), frozenset())
    upstream.push_belongings(corpus, repository)
    outcome = copy.run()
    assert outcome is not None
    assert (outcome.copied, outcome.failed, outcome.troubles, outcome.limits) == (len(corpus.belongings), 0, (), ())
    assert copy.pull_back() == PulledAll(corpus.manifests, corpus.tags)


class TestRequests:
    """What upstream is asked for, over HTTP."""

    @pytest.fixture
    def scripted(self) -> Iterator[FakeRegistry]:
        with FakeRegistry() as scripted:
            scripted.referrers_page = 7
            yield scripted

    def pushed(
        self, name: str, what: str, scripted: FakeRegistry, ecr: RunningEcr
    ) -> tuple[CorpusImage, Upstream, ServiceCopy]:
        """Let upstream have an image of the corpus, without what belongs to it."""
        upstream = Upstream(scripted.host, scripted)
        copy = ServiceCopy(upstream, ecr, f"corpus/{what}-{name}")
        upstream.push_image(CORPUS[name].image, copy.repository)
        return CORPUS[name], upstream, copy

    def test_new_digest_costs_a_head_and_a_request_for_each_page_of_referrers(
        self, scripted: FakeRegistry, ecr: RunningEcr
    ) -> None:
        corpus = CORPUS["notation-signature"]
        upstream = Upstream(scripted.host, scripted)
        copy = ServiceCopy(upstream, ecr, "corpus/counted")
        upstream.push_image(corpus.image, copy.repository)
        upstream.push_belongings(corpus, copy.repository)
        copy.run()
        tags = scripted.count("HEAD", "/manifests/sha256-")
        assert scripted.count("HEAD") - tags == 1
        assert tags == 3  # cosign's tags of the image
        assert scripted.count("GET", "/referrers/") == 2  # one page of the image, one of its signature
        assert scripted.count("GET", "/manifests/") == 2  # the image and its signature: what is copied
        assert scripted.count("GET") == 4 + scripted.count("GET", "/blobs/")

    @pytest.mark.parametrize("name", SMALL)
    def test_new_digest_of_every_image_costs_a_head_its_pages_and_what_is_copied(
        self, name: str, scripted: FakeRegistry, ecr: RunningEcr
    ) -> None:
        corpus, upstream, copy = self.pushed(name, "counted", scripted, ecr)
        upstream.push_belongings(corpus, copy.repository)
        scripted.forget_requests()
        copy.run()
        asked = len(corpus.manifests)  # none has more referrers than one page
        belonging = scripted.count("HEAD", "/manifests/sha256-")
        assert scripted.count("HEAD") - belonging == 1
        assert belonging % len(COSIGN_SUFFIXES) == 0
        assert belonging <= asked * len(COSIGN_SUFFIXES)
        assert scripted.count("GET", "/referrers/") == asked
        assert scripted.count("GET", "/manifests/") == asked
        blobs = [each.path for each in scripted.requests if each.method == "GET" and "/blobs/" in each.path]
        assert len(blobs) == len(set(blobs))
        assert len(scripted.requests) == 1 + belonging + 2 * asked + len(blobs)

    @pytest.mark.parametrize("name", CORPUS)
    def test_settled_tag_that_is_unchanged_costs_one_head_and_nothing_else(
        self, name: str, scripted: FakeRegistry, ecr: RunningEcr
    ) -> None:
        corpus, upstream, copy = self.pushed(name, "settled", scripted, ecr)
        if name not in SMALL:  # to copy 150 referrers is another test's
            copy.run()
        upstream.push_belongings(corpus, copy.repository)
        if name in SMALL:
            copy.run()
        service = CheckingService([])
        service.rules = copy.rules
        service.ports = service.ports._replace(
            upstream=upstream.client(), published_digests=EcrTarget(ecr.client).published_digests
        )
        check = CheckMirrors(lambda: service.rules, service.ports)
        request = CheckRequest(reason="schedule", repository=copy.repository, tags=("1.0",), asked_at=service.clock())
        (first,) = check(request)
        assert first.state is State.FRESH
        service.settle_referrers()
        service.clock.advance(minutes=15)
        scripted.forget_requests()
        service.script.resume()
        writes = service.records.writes
        (result,) = check(structs.replace(request, asked_at=service.clock()))
        assert (result.state, result.started) == (State.FRESH, None)
        assert [(each.method, each.path) for each in scripted.requests] == [
            ("HEAD", f"/v2/{copy.repository}/manifests/1.0")
        ]
        assert (service.records.writes - writes, service.queue.sent) == (0, [])

    def test_pages_are_followed_whether_or_not_filters_are_applied(
        self, scripted: FakeRegistry, ecr: RunningEcr
    ) -> None:
        image = make_image([10], seed=77)
        bills = [artifacts.sbom(image.root.descriptor, content=b"%d" % number) for number in range(20)]
        for filters in (False, True):
            scripted.filters_referrers = filters
            upstream = Upstream(scripted.host, scripted)
            copy = ServiceCopy(upstream, ecr, f"corpus/paged-{filters}".lower())
            upstream.push_image(image, copy.repository)
            upstream.push_belongings(CorpusImage(image, [Belonging(bill) for bill in bills]), copy.repository)
            scripted.forget_requests()
            outcome = copy.run()
            assert outcome is not None
            assert outcome.copied == 20
            assert scripted.count("GET", f"/referrers/{image.digest}") == 3
