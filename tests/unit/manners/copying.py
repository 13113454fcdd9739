"""A copy between two imperfect registries by the engine of the command line, whose waits take no time."""

from collections.abc import Sequence

from local.images import LocalImage, make_image
from pullahead.oci import Descriptor, Reference, Repository
from pullahead.oci.registries import Offered
from pullahead.registry.client import UpstreamRegistry
from pullahead.registry.credentials import Credentials, anonymous
from pullahead.registry.push import OciTarget
from pullahead.registry.request import Timeouts
from pullahead.rules.model import UpstreamSettings
from pullahead.standalone.copy_image import CopyOptions, CopySummary, copy_image
from tests.unit.manners.registry import ImperfectRegistry
from tests.unit.registry.harness import FakeTime

IMAGE = make_image([3000, 500], seed=3)
SOURCE, TARGET = "team/app", "mirror/app"
TIMEOUTS = Timeouts(connect=2, read=5)


class _NoProgress:
    def planned(self, blobs: Sequence[Descriptor]) -> None:
        pass

    def offered(self, blob: Descriptor, what: Offered) -> None:
        pass

    def sent(self, blob: Descriptor, count_bytes: int) -> None:
        pass


def reader(credentials: Credentials = anonymous, time: FakeTime | None = None) -> UpstreamRegistry:
    """Make a client for reading that may ask any registry of a test."""
    time = time or FakeTime()
    return UpstreamRegistry(
        lambda host: UpstreamSettings(host, plain_http=True, private_addresses=True),
        timeouts=TIMEOUTS,
        clock=time,
        wall_clock=time,
        sleep=time.sleep,
        jitter=lambda: 1.0,
        credentials=credentials,
        patience=1000.0,
    )


def writer(
    registry: ImperfectRegistry,
    credentials: Credentials = anonymous,
    time: FakeTime | None = None,
    *,
    insecure: Sequence[str] = (),
    asks_presence: bool = False,
) -> OciTarget:
    """Make a client for writing."""
    time = time or FakeTime()
    return OciTarget(
        registry.host,
        plain_http=True,
        insecure=insecure,
        credentials=credentials,
        asks_presence=asks_presence,
        timeouts=TIMEOUTS,
        clock=time,
        sleep=time.sleep,
        jitter=lambda: 1.0,
    )


def reference(registry: ImperfectRegistry, tag: str = "1.0", repository: str = SOURCE) -> Reference:
    return Reference(Repository(registry.host, repository), tag)


def copy(
    source: ImperfectRegistry,
    target: ImperfectRegistry,
    *,
    options: CopyOptions | None = None,
    time: FakeTime | None = None,
) -> CopySummary:
    """Copy team/app:1.0 to mirror/app:1.0, one blob after the other."""
    time = time or FakeTime()
    return copy_image(
        reference(source),
        reference(target, repository=TARGET),
        upstream=reader(time=time),
        destination=writer(target, time=time),
        wait_after_break=lambda _: None,
        progress=_NoProgress(),
        clock=time,
        cpu_clock=time,
        options=options or CopyOptions(threads=1),
    )


def assert_copied(target: ImperfectRegistry, image: LocalImage = IMAGE) -> None:
    """The target serves an image with everything below it."""
    assert target.manifests[TARGET, "1.0"][1] == image.root.content
    assert [digest for digest in image.blobs if target.blobs.get(digest) != image.read_blob(digest)] == []


def assert_not_published(target: ImperfectRegistry) -> None:
    """No tag was written."""
    assert target.manifests == {}
