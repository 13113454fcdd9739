"""Listings of upstream registries: the fake and a real registry behave the same."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest

from local.images import LocalImage, make_image, make_index, push_image
from local.registry import FakeRegistry
from pullahead.errors import NotFoundError
from pullahead.oci import Reference, Repository
from pullahead.oci.referrers import fallback_tag
from pullahead.registry.client import UpstreamRegistry
from pullahead.rules.model import UpstreamSettings
from tests.real_servers import docker_registry

SUBJECT, SIGNATURE = make_image(seed=1), make_image(seed=2)


class Served(NamedTuple):
    """A registry that is up, and the way to put images into it."""

    host: str
    push: Callable[[LocalImage, str, str], None]

    def repository(self, path: str) -> Repository:
        return Repository(self.host, path)


@pytest.fixture(scope="module")
def fake() -> Iterator[Served]:
    with FakeRegistry() as registry:
        yield Served(registry.host, registry.push)


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with docker_registry(tmp_path_factory.mktemp("registry")) as host:
        yield Served(host, lambda image, repository, tag: push_image(image, f"http://{host}", repository, tag))


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.real_registry)])
def served(request: pytest.FixtureRequest) -> Served:
    chosen: Served = request.getfixturevalue(request.param)
    return chosen


@pytest.fixture
def upstream() -> UpstreamRegistry:
    return UpstreamRegistry(lambda host: UpstreamSettings(host, plain_http=True))


def test_listing_returns_every_tag(served: Served, upstream: UpstreamRegistry) -> None:
    tags = {f"v{number}" for number in range(12)}
    for tag in tags:
        served.push(SUBJECT, "team/tagged", tag)
    listed = upstream.list_tags(served.repository("team/tagged"))
    assert set(listed) == tags
    assert len(listed) == len(tags)


def test_missing_repository_is_not_found(served: Served, upstream: UpstreamRegistry) -> None:
    with pytest.raises(NotFoundError):
        upstream.list_tags(served.repository("team/nowhere"))


def test_referrers_of_the_fallback_tag_are_listed(served: Served, upstream: UpstreamRegistry) -> None:
    served.push(SUBJECT, "team/signed", "1.0")
    reference = Reference(served.repository("team/signed"), "1.0")
    assert upstream.list_referrers(reference, SUBJECT.digest) == ()
    served.push(make_index([SIGNATURE]), "team/signed", fallback_tag(SUBJECT.digest))
    (found,) = upstream.list_referrers(reference, SUBJECT.digest)
    assert found.descriptor == SIGNATURE.root.descriptor
