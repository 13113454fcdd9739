"""The tags of repositories in memory, as ECR removes them."""

from collections.abc import Collection, Iterator, Mapping, Sequence

from pullahead.oci import Digest
from pullahead.retention.ports import Removal
from tests.fakes.script import Script


class FakeTags:
    """Implements `pullahead.retention.ports.TagLister` and `TagRemover`."""

    def __init__(self, script: Script | None = None) -> None:
        self.script = script or Script()
        self.served: dict[str, dict[str, Digest]] = {}
        self.referrers: dict[Digest, list[Digest]] = {}  # without a tag, by their subject
        self.in_index: set[Digest] = set()  # what an index refers to

    def list_tags(self, repository: str) -> Mapping[str, Digest]:
        with self.script.call("list_tags"):
            return dict(self.served.get(repository, {}))

    def remove(self, repository: str, removal: Removal) -> Sequence[str]:
        with self.script.call("remove"):
            tags = self.served.get(repository, {})
            is_only = list(tags.values()).count(removal.digest) == 1
            if tags.get(removal.tag) != removal.digest or (is_only and removal.digest in self.in_index):
                return ()
            removed = [tag for tag in (removal.tag, *removal.referring_tags) if tags.pop(tag, None) is not None]
            gone = list(self._without_tag(removal.digest, removal.tagged)) if removal.with_referrers else []
            return (*removed, *gone)

    def _without_tag(self, subject: Digest, tagged: Collection[Digest]) -> Iterator[Digest]:
        """Take away what refers to a manifest, and what refers to that; but what has a tag."""
        found = self.referrers.pop(subject, [])
        if stays := [each for each in found if each in tagged]:
            self.referrers[subject] = stays
        for each in found:
            if each not in tagged:
                yield each
                yield from self._without_tag(each, tagged)
