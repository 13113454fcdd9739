"""What a person may paste: a name in ECR, an image's address as in a pod, its upstream, a repository, a listing."""

from collections.abc import Collection, Mapping

import pytest

from pullahead.dashboard.find_subjects import SubjectFinder, Subjects, parse_mirror_name, parse_named_image
from pullahead.mirrors.record import MirrorRecord, Record
from pullahead.oci.reference import InvalidReferenceError
from pullahead.rules.mirror_key import MirrorKey, RecordKey, RuleKey
from pullahead.rules.model import Rules
from pullahead.rules.published_tags import NamedTag
from pullahead.rules.tag_patterns import PatternKind, TagPattern, TagSelection
from tests.fakes.memory import FakeClock
from tests.fakes.records import fresh, listing_record
from tests.fakes.samples import KEY, REPOSITORY, digest, mirror, rule, rules

NOW = FakeClock()()
HOST = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
A, B, C = digest("a"), digest("b"), digest("c")
NEWEST = TagSelection(patterns=(TagPattern(PatternKind.SEMVER, ">=1"),), newest=2)
SELECTING = rule(tags=NEWEST, name="app", upstream="ghcr.io/team/app")
NAMING = rule("3.20", "3.21", name="alpine", upstream="docker.io/library/alpine", repository="mirror/alpine")
RECORDS: dict[RecordKey, Record] = {
    KEY: fresh(KEY, NOW, published_digest=A, upstream_digest=A, previous_digest=B),
    MirrorKey("mirror/alpine", "3.20"): fresh("mirror/alpine:3.20", NOW, published_digest=C, upstream_digest=C),
    RuleKey(REPOSITORY, "app"): listing_record(RuleKey(REPOSITORY, "app"), NOW, followed=("1.0", "2.0")),
}


def load(keys: Collection[MirrorKey]) -> Mapping[MirrorKey, MirrorRecord]:
    return {key: record for key in keys if isinstance(record := RECORDS.get(key), MirrorRecord)}


def named_rules() -> Rules:
    return rules([NAMING.mirror("3.20"), NAMING.mirror("3.21")], "r", SELECTING, NAMING)


def find(text: str, known: Rules | None = None) -> Subjects:
    return SubjectFinder(known or named_rules(), load, RECORDS.get)(parse_named_image(text))


def mirrors(text: str) -> list[str]:
    return [str(key) for key in find(text).mirrors]


@pytest.mark.parametrize(
    "text",
    [
        "mirror/alpine:3.20",
        f"{HOST}/mirror/alpine:3.20",
        f"{HOST}/mirror/alpine:3.20@{A}",
        f"{HOST}/mirror/alpine@{C}",
        f"docker-pullable://{HOST}/mirror/alpine@{C}",
        f" docker://{HOST}/mirror/alpine:3.20 ",
        "123456789012.dkr-ecr.eu-west-1.on.aws/mirror/alpine:3.20",
        "docker.io/library/alpine:3.20",
        "alpine:3.20",
        "index.docker.io/library/alpine:3.20",
        f"docker.io/library/alpine@{C}",
    ],
)
def test_mirror_is_found_by_its_name_and_by_every_address_of_its_image(text: str) -> None:
    assert mirrors(text) == ["mirror/alpine:3.20"]


@pytest.mark.parametrize("digest_of_app", [A, B])
def test_digest_finds_the_tag_that_has_or_had_it(digest_of_app: str) -> None:
    assert mirrors(f"{HOST}/{REPOSITORY}@{digest_of_app}") == [str(KEY)]
    assert mirrors(f"{HOST}/{REPOSITORY}@{C}") == []


@pytest.mark.parametrize("text", [f"{REPOSITORY}:1.9.0", f"{HOST}/{REPOSITORY}:1.9.0", "ghcr.io/team/app:1.9.0"])
def test_tag_that_a_rule_might_select_is_found(text: str) -> None:
    assert mirrors(text) == [f"{REPOSITORY}:1.9.0"]


@pytest.mark.parametrize(
    "text", [REPOSITORY, f"{HOST}/{REPOSITORY}", f"{REPOSITORY} (app):*", f"{REPOSITORY} (app)", "ghcr.io/team/app"]
)
def test_repository_and_listing_are_the_rules_that_publish_there(text: str) -> None:
    found = find(text)
    assert ([each.name for each in found.rules], found.mirrors) == (["app"], ())


@pytest.mark.parametrize("text", ["other/app:1", f"{HOST}/other/app:1", "quay.io/team/app:1", "other (app2):*"])
def test_unknown_name_finds_nothing(text: str) -> None:
    assert find(text) == Subjects()


def test_repository_named_like_a_host_is_found_before_the_upstream() -> None:
    named = rule("1", repository="docker.io/library/alpine", upstream="quay.io/other/alpine")
    known = rules([named.mirror("1")], "r", named, NAMING)
    assert [str(key) for key in find("docker.io/library/alpine:1", known).mirrors] == ["docker.io/library/alpine:1"]


def test_mirror_with_a_record_and_without_a_rule_is_found() -> None:
    known = rules([mirror("9")], "r")
    assert [str(key) for key in find(str(KEY), known).mirrors] == [str(KEY)]


def test_number_of_subjects_is_bounded() -> None:
    many = [rule("1", name=f"r{number}", repository="mirror/a") for number in range(12)]
    found = find("mirror/a", rules([], "r", *many))
    assert (len(found.rules), found.more) == (10, True)


@pytest.mark.parametrize("text", ["", "UPPER/app:1.0", "mirror/app:1:2", "mirror/app:-x", f"mirror/app@{A[:20]}"])
def test_what_is_no_reference_is_refused(text: str) -> None:
    with pytest.raises(InvalidReferenceError):
        parse_named_image(text)


def test_one_mirror_is_named_by_its_name_or_its_address_in_ecr() -> None:
    for text in (str(KEY), f"{HOST}/{KEY}", f"{HOST}/{KEY}@{A}"):
        assert parse_mirror_name(text) == KEY
    assert parse_mirror_name("docker.io/library/alpine:1") == MirrorKey("docker.io/library/alpine", "1")


@pytest.mark.parametrize("text", ["mirror/app", f"{HOST}/mirror/app", f"{KEY}@{A}", "quay.io:443/a/b:1", "a/b (r):*"])
def test_name_of_no_single_mirror_is_refused(text: str) -> None:
    with pytest.raises(InvalidReferenceError, match="names no mirror"):
        parse_mirror_name(text)


def test_tag_with_another_name_is_found_by_its_name_in_ecr_and_upstream() -> None:
    tags = NEWEST._replace(template="{tag}-mirror", renamed=(NamedTag("1.0", "stable"),))
    renaming = rule(tags=tags, name="app", upstream="ghcr.io/team/app")
    known = rules(renaming.named_mirrors, "r", renaming)
    assert [str(key) for key in find("ghcr.io/team/app:1.0", known).mirrors][:1] == ["mirror/app:stable"]
    assert [str(key) for key in find("mirror/app:stable", known).mirrors] == ["mirror/app:stable"]
    assert [str(key) for key in find("ghcr.io/team/app:2.0", known).mirrors] == ["mirror/app:2.0-mirror"]
