"""The name under which a refresh runs once: valid for Step Functions, and different for different refreshes."""

import re

from hypothesis import given
from hypothesis import strategies as st

from pullahead.refresh.request import execution_name
from pullahead.rules.mirror_key import MirrorKey
from tests.fakes.samples import digest

words = st.text("abz09", min_size=1, max_size=12)
keys = st.builds(
    MirrorKey, st.builds("{}/{}.{}".format, words, words, words), st.text("aZ0._-", min_size=1, max_size=128)
)
versions = st.integers(1, 10**9)


@given(st.one_of(keys, st.builds(MirrorKey, st.text(), st.text())), versions)
def test_name_is_what_step_functions_takes(key: MirrorKey, version: int) -> None:
    """Step Functions API reference, StartExecution, name: 1 to 80 characters, no spaces, brackets or wildcards."""
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,80}", execution_name(key, digest("a"), version))


@given(st.sets(st.tuples(keys, st.sampled_from("abc"), versions), min_size=2, max_size=20))
def test_mirror_digest_and_episode_make_the_name(refreshes: set[tuple[MirrorKey, str, int]]) -> None:
    names = {execution_name(key, digest(seed), version) for key, seed, version in refreshes}
    assert len(names) == len(refreshes)


@given(keys, versions)
def test_platforms_make_the_name(key: MirrorKey, version: int) -> None:
    choices = [(), ("linux/amd64",), ("linux/arm64",), ("linux/amd64", "linux/arm64")]
    assert len({execution_name(key, digest("a"), version, platforms) for platforms in choices}) == len(choices)


def test_name_begins_with_the_mirror() -> None:
    assert execution_name(MirrorKey.parse("mirror/alpine:3.20"), digest("a"), 7).startswith("mirror-alpine-3-20-7-")


def test_similar_mirrors_have_different_names() -> None:
    assert execution_name(MirrorKey.parse("a/b:c"), digest("a"), 1) != execution_name(
        MirrorKey.parse("a-b:c"), digest("a"), 1
    )
