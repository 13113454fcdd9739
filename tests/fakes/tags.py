"""The tags of repositories in memory, as ECR removes them."""

from collections.abc import Mapping, Sequence

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
            found = self.referrers.pop(removal.digest, []) if removal.with_referrers else []
            if stays := [each for each in found if each in removal.tagged]:
                self.referrers[removal.digest] = stays
            return (*removed, *(each for each in found if each not in removal.tagged))
