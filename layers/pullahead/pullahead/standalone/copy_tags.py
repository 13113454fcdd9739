"""Copy several tags of a repository in one process. One that fails does not stop the others."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import NamedTuple

from pullahead.clock import Wait
from pullahead.errors import PullaheadError
from pullahead.oci import Reference, Repository
from pullahead.oci.registries import CopySource, CopyTarget
from pullahead.standalone.copy_image import CopyOptions, CopySummary, copy_image
from pullahead.standalone.sync import BLOBS_AT_ONCE, MIRRORS_AT_ONCE, NoProgress, SharedTarget


class TagResult(NamedTuple):
    """The outcome of a tag: a summary or an error."""

    tag: str
    summary: CopySummary | None
    error: PullaheadError | None = None


def copy_tags(
    source: Repository,
    target: Repository,
    tags: Sequence[str],
    *,
    upstream: CopySource,
    destination: CopyTarget,
    wait_after_break: Wait,
    clock: Callable[[], float],
    cpu_clock: Callable[[], float],
    options: CopyOptions,
) -> Iterator[TagResult]:
    """Copy tags under their own names, four at once, and yield the outcome of each as it ends."""
    shared = SharedTarget(destination)

    def copy(tag: str) -> TagResult:
        try:
            summary = copy_image(
                Reference(source, tag),
                Reference(target, tag),
                upstream=upstream,
                destination=shared,
                wait_after_break=wait_after_break,
                progress=NoProgress(),
                clock=clock,
                cpu_clock=cpu_clock,
                options=options._replace(threads=BLOBS_AT_ONCE),
            )
        except PullaheadError as error:
            return TagResult(tag, None, error)
        return TagResult(tag, summary)

    with ThreadPoolExecutor(MIRRORS_AT_ONCE) as pool:
        for future in as_completed([pool.submit(copy, tag) for tag in tags]):
            yield future.result()
