"""The upstream of the images that are mirrored: public.ecr.aws, or a registry on this machine for the local AWS."""

from typing import Final, NamedTuple

from local.images import make_image, make_index
from local.registry import FakeRegistry
from pullahead.oci import Digest, Reference, Repository
from pullahead.registry.client import UpstreamRegistry
from pullahead.rules.model import UpstreamSettings


class UpstreamTag(NamedTuple):
    """One tag that is mirrored or cached."""

    path: str
    tag: str


# Official images of a few MB in all their platforms, of which the first also is one that ECR's basic scan knows.
MIRRORED: Final = UpstreamTag("docker/library/alpine", "3.20")
OVERWRITTEN: Final = UpstreamTag("docker/library/busybox", "1.36")
DELETED: Final = UpstreamTag("docker/library/busybox", "1.37")
CACHED: Final = UpstreamTag("docker/library/busybox", "1.35")
MISSING: Final = UpstreamTag("docker/library/busybox", "no-such-tag-of-pullahead-live")


class Upstream(NamedTuple):
    """A registry to mirror from."""

    host: str
    plain_http: bool = False

    def digest(self, named: UpstreamTag) -> Digest:
        """Ask which digest a tag has, as Pullahead does."""
        settings = UpstreamSettings(self.host, plain_http=self.plain_http, private_addresses=self.plain_http)
        registry = UpstreamRegistry(lambda _: settings)
        return registry.head_manifest(Reference(Repository(self.host, named.path), named.tag)).digest


PUBLIC: Final = Upstream("public.ecr.aws")


def fill(registry: FakeRegistry) -> Upstream:
    """Put images by the same names into a registry on this machine."""
    for number, named in enumerate((MIRRORED, OVERWRITTEN, DELETED, CACHED)):
        images = [
            make_image([4_000], seed=10 * number + each, platform=platform)
            for each, platform in enumerate(("linux/amd64", "linux/arm64"))
        ]
        registry.push(make_index(images), named.path, named.tag)
    return Upstream(registry.host, plain_http=True)
