"""Facts about manifests, tags and repositories."""

import json
from collections.abc import Iterator
from functools import partial
from typing import Any, Final

from local.images import LocalImage, make_image, make_index
from pullahead.aws.ecr_sources import EcrTaggedRepositories
from pullahead.ecr.repositories import create_repository
from pullahead.oci import digest_of, media_types
from tests.live.fact import Finding, Section
from tests.live.naming import TAG
from tests.live.site import Site, refusal

SECTION: Final = Section("Images, tags and repositories")

_REFERENCE: Final = "ECR API reference"
_TARGET: Final = ("ecr/target.py",)
_REMOVER: Final = ("ecr/tags.py",)
_ERRORS: Final = ("ecr/errors.py", "ecr/target.py")
_LOCAL: Final = ("local/ecr/images.py", "local/ecr/api_images.py")
_SETTINGS: Final = ("local/ecr/api_repositories.py",)
_LISTED_SECONDS: Final = 120.0
_LOOKS: Final = 4  # of `refresh.publish` at a tag that it has put, about a second apart
_EXPIRE_DAYS: Final = 30


def _image(site: Site, repository: str, seed: int) -> LocalImage:
    """Push an image without a tag, once."""
    image = make_image(seed=seed)

    def push() -> LocalImage:
        site.push(image, repository)
        return image

    return site.once(f"image {seed} in {repository}", push)


def _put(site: Site, repository: str, manifest: str, **more: str) -> Any:
    return site.ecr.put_image(repositoryName=repository, imageManifest=manifest, **more)


def _text(image: LocalImage) -> str:
    return image.root.content.decode()


def _moved(image: LocalImage, site: Site, repository: str, tag: str) -> None:
    _put(site, repository, _text(image), imageTag=tag)


@SECTION.fact(
    "`PutImage` keeps the exact bytes of a manifest: its digest is theirs, and `BatchGetImage` returns them.",
    source="docker/distribution digests; observed by many clients",
    relied_on_by=_TARGET,
    emulated_in=("local/ecr/manifests.py",),
)
def exact_bytes(site: Site) -> Finding:
    repository = site.repository("images")
    image = _image(site, repository, 1)
    text = json.dumps(json.loads(_text(image)), indent=3) + "\n"  # other bytes, and so another digest
    put = _put(site, repository, text)["image"]["imageId"]["imageDigest"]
    (got,) = site.ecr.batch_get_image(repositoryName=repository, imageIds=[{"imageDigest": put}])["images"]
    agrees = put == digest_of(text.encode()) and got["imageManifest"] == text
    return Finding(agrees, "same digest and bytes" if agrees else f"{put}; the bytes differ")


@SECTION.fact(
    "A manifest that does not contain its media type is taken with `imageManifestMediaType`.",
    source="aws/aws-sdk#193",
    relied_on_by=_TARGET,
    emulated_in=("local/ecr/manifests.py",),
)
def media_type_as_parameter(site: Site) -> Finding:
    repository = site.repository("images")
    document = json.loads(_text(_image(site, repository, 1)))
    del document["mediaType"]
    put = refusal(lambda: _put(site, repository, json.dumps(document), imageManifestMediaType=media_types.OCI_MANIFEST))
    return Finding(not put.code, put.text if put.code else "taken")


@SECTION.fact(
    "The same manifest under the same tag again is refused with `ImageAlreadyExistsException`, which is success.",
    source=f"{_REFERENCE}, PutImage",
    relied_on_by=_TARGET,
    emulated_in=_LOCAL,
    errors=["ImageAlreadyExistsException"],
)
def image_exists(site: Site) -> Finding:
    repository = site.repository("images")
    text = _text(_image(site, repository, 1))
    refusal(lambda: _put(site, repository, text, imageTag="twice"))
    return refusal(lambda: _put(site, repository, text, imageTag="twice")).is_one_of("ImageAlreadyExistsException")


@SECTION.fact(
    "A manifest that ECR has is put again under another tag, and then has both: so the previous digest keeps a tag.",
    source=f"{_REFERENCE}, PutImage; Amazon ECR User Guide, Retagging an image",
    relied_on_by=("refresh/keep_previous.py", "refresh/publish.py"),
    emulated_in=_LOCAL,
)
def second_tag(site: Site) -> Finding:
    repository = site.repository("moved")
    image = _image(site, repository, 5)
    _moved(image, site, repository, "2.0")
    put = refusal(lambda: _moved(image, site, repository, "2.0--previous-0123456789ab"))
    if put.code:
        return Finding(False, put.text)
    tags = _tags_of(site, repository, image)
    return Finding(tags == {"2.0", "2.0--previous-0123456789ab"}, f"tags {sorted(tags)}")


def _tags_of(site: Site, repository: str, image: LocalImage) -> set[str]:
    (shown,) = site.ecr.describe_images(repositoryName=repository, imageIds=[{"imageDigest": image.digest}])[
        "imageDetails"
    ]
    return set(shown.get("imageTags", ()))


@SECTION.fact(
    "`BatchGetImage` of a tag that is missing is no error: the answer has no image, and a failure `ImageNotFound`.",
    source=f"{_REFERENCE}, BatchGetImage",
    relied_on_by=_TARGET,
    emulated_in=_LOCAL,
)
def get_missing_tag(site: Site) -> Finding:
    answer = site.ecr.batch_get_image(repositoryName=site.repository("images"), imageIds=[{"imageTag": "missing"}])
    codes = [failure["failureCode"] for failure in answer.get("failures", ())]
    return Finding(not answer.get("images"), f"{len(answer.get('images', ()))} images, failures {codes}")


@SECTION.fact(
    "A manifest whose layers are missing is refused with `LayersNotFoundException`.",
    source=f"{_REFERENCE}, PutImage",
    relied_on_by=_ERRORS,
    emulated_in=_LOCAL,
    errors=["LayersNotFoundException"],
)
def layers_missing(site: Site) -> Finding:
    text = _text(make_image(seed=90))
    return refusal(lambda: _put(site, site.repository("images"), text)).is_one_of("LayersNotFoundException")


@SECTION.fact(
    "An index with a child that is missing is refused with `ReferencedImagesNotFoundException`.",
    source=f"{_REFERENCE}, PutImage",
    relied_on_by=("ecr/errors.py", "refresh/publish.py"),
    emulated_in=_LOCAL,
    errors=["ReferencedImagesNotFoundException"],
)
def child_missing(site: Site) -> Finding:
    repository = site.repository("images")
    index = make_index([_image(site, repository, 1), make_image(seed=91)])
    return refusal(lambda: _put(site, repository, _text(index))).is_one_of("ReferencedImagesNotFoundException")


@SECTION.fact(
    "A manifest whose digest is not `imageDigest` is refused with `ImageDigestDoesNotMatchException`.",
    source=f"{_REFERENCE}, PutImage",
    relied_on_by=_ERRORS,
    emulated_in=_LOCAL,
    errors=["ImageDigestDoesNotMatchException"],
)
def digest_mismatch(site: Site) -> Finding:
    repository = site.repository("images")
    text, other = _text(_image(site, repository, 1)), digest_of(b"other")
    return refusal(lambda: _put(site, repository, text, imageDigest=other)).is_one_of(
        "ImageDigestDoesNotMatchException"
    )


@SECTION.fact(
    "A manifest that is no manifest is refused with `InvalidParameterException`.",
    source=f"{_REFERENCE}, PutImage; the message is observed in aws/aws-sdk#193",
    relied_on_by=("ecr/errors.py",),
    emulated_in=("local/ecr/manifests.py",),
    errors=["InvalidParameterException"],
)
def invalid_manifest(site: Site) -> Finding:
    return refusal(lambda: _put(site, site.repository("images"), "{")).is_one_of("InvalidParameterException")


@SECTION.fact(
    "A tag of an immutable repository is not moved: `ImageTagAlreadyExistsException`.",
    source=f"{_REFERENCE}, PutImage",
    relied_on_by=("ecr/errors.py",),
    emulated_in=_LOCAL,
    errors=["ImageTagAlreadyExistsException"],
)
def immutable_tag(site: Site) -> Finding:
    repository = site.repository("immutable", imageTagMutability="IMMUTABLE")
    _moved(_image(site, repository, 2), site, repository, "v1")
    other = _text(_image(site, repository, 3))
    return refusal(lambda: _put(site, repository, other, imageTag="v1")).is_one_of("ImageTagAlreadyExistsException")


@SECTION.fact(
    "`IMMUTABLE_WITH_EXCLUSION` lets tags that match a wildcard move, and no others.",
    source="Amazon ECR User Guide, Preventing image tags from being overwritten",
    relied_on_by=("ecr/repositories.py",),
    emulated_in=("local/ecr/repositories.py", *_SETTINGS),
)
def mutable_tag_filter(site: Site) -> Finding:
    repository = site.repository(
        "filtered",
        imageTagMutability="IMMUTABLE_WITH_EXCLUSION",
        imageTagMutabilityExclusionFilters=[{"filterType": "WILDCARD", "filter": "latest*"}],
    )
    first, second = _text(_image(site, repository, 2)), _text(_image(site, repository, 3))
    answers = {}
    for tag in ("latest-1", "v1"):
        _put(site, repository, first, imageTag=tag)
        answers[tag] = refusal(lambda tag=tag: _put(site, repository, second, imageTag=tag)).code or "moved"  # type: ignore[misc]
    return Finding(answers == {"latest-1": "moved", "v1": "ImageTagAlreadyExistsException"}, str(answers))


@SECTION.fact(
    "The manifest that a tag named before stays, without a tag.",
    source="Amazon ECR User Guide, Lifecycle policies",
    relied_on_by=("ecr/repositories.py", "docs/operating.md"),
    emulated_in=_LOCAL,
)
def moved_tag_leaves_manifest(site: Site) -> Finding:
    repository = site.repository("moved")
    first, second = _image(site, repository, 4), _image(site, repository, 5)
    for image in (first, second):
        _moved(image, site, repository, "latest")
    (left,) = site.ecr.describe_images(repositoryName=repository, imageIds=[{"imageDigest": first.digest}])[
        "imageDetails"
    ]
    tags = left.get("imageTags", [])
    return Finding(not tags, f"the first manifest is there, tags {tags}")


@SECTION.fact(
    "`BatchDeleteImage` takes away a tag alone while another names the manifest, and with the last tag the manifest.",
    source=f"{_REFERENCE}, BatchDeleteImage",
    relied_on_by=_REMOVER,
    emulated_in=_LOCAL,
)
def last_tag_deletes_manifest(site: Site) -> Finding:
    repository = site.repository("deletions")
    image = _image(site, repository, 7)
    for tag in ("first", "last"):
        refusal(partial(_put, site, repository, _text(image), imageTag=tag))
    there = []
    for tag in ("first", "last"):
        site.ecr.batch_delete_image(repositoryName=repository, imageIds=[{"imageTag": tag}])
        there.append(site.target.holds_manifest(repository, image.digest))
    return Finding(there == [True, False], f"there after each: {there}")


@SECTION.fact(
    "A manifest that an index names is not deleted: the failure `ImageReferencedByManifestList`.",
    source=f"{_REFERENCE}, BatchDeleteImage; aws/containers-roadmap#1567",
    relied_on_by=_REMOVER,
    emulated_in=_LOCAL,
)
def child_is_not_deleted(site: Site) -> Finding:
    repository = site.repository("deletions")
    child = _image(site, repository, 8)
    refusal(lambda: _put(site, repository, _text(make_index([child]))))
    answer = site.ecr.batch_delete_image(repositoryName=repository, imageIds=[{"imageDigest": child.digest}])
    codes = [failure["failureCode"] for failure in answer.get("failures", ())]
    return Finding(codes == ["ImageReferencedByManifestList"], f"failures: {codes}")


@SECTION.fact(
    "`DescribeImages` and `ListImages` show a tag that was just moved within the four looks that a refresh takes.",
    source="inferred; consistency is not documented",
    relied_on_by=("refresh/publish.py",),
    emulated_in=_LOCAL,
)
def read_after_put(site: Site) -> Finding:
    repository = site.repository("moved")
    looks = list(_looks_until_moved(site, repository))
    return Finding(max(looks) <= _LOOKS, f"seen at look {', '.join(map(str, looks))} of five moves")


def _looks_until_moved(site: Site, repository: str) -> Iterator[int]:
    """Move a tag five times, and count the looks until each move shows; one too many where it does not."""
    for seed in (4, 5, 4, 5, 4):
        image, look = _image(site, repository, seed), 1
        _moved(image, site, repository, "moving")
        while look <= _LOOKS and site.served(repository, "moving") != image.digest:
            look += 1
            site.waits.pause()
        yield look


@SECTION.fact(
    "One tag that is missing fails the whole call of `DescribeImages` with `ImageNotFoundException`.",
    source="observed by third parties; which tag is missing is not reliably said",
    relied_on_by=_TARGET,
    emulated_in=_LOCAL,
    errors=["ImageNotFoundException"],
)
def missing_tag_fails_call(site: Site) -> Finding:
    repository = site.repository("moved")
    _moved(_image(site, repository, 4), site, repository, "there")
    answer = refusal(
        lambda: site.ecr.describe_images(
            repositoryName=repository, imageIds=[{"imageTag": "there"}, {"imageTag": "missing"}]
        )
    )
    named = "names" if "missing" in answer.text else "does not name"
    return Finding(answer.code == "ImageNotFoundException", f"{answer.code or answer.text}; {named} the tag")


@SECTION.fact(
    "`DescribeImages` finds manifests without a tag by digest; one that is missing fails the whole call, too.",
    source="observed by third parties; inferred for digests",
    relied_on_by=_TARGET,
    emulated_in=_LOCAL,
    errors=["ImageNotFoundException"],
)
def missing_digest_fails_call(site: Site) -> Finding:
    repository, missing = site.repository("images"), make_image(seed=91).digest
    there = {"imageDigest": _image(site, repository, 1).digest}
    found = refusal(lambda: site.ecr.describe_images(repositoryName=repository, imageIds=[there]))
    both = refusal(
        lambda: site.ecr.describe_images(repositoryName=repository, imageIds=[there, {"imageDigest": missing}])
    )
    seen = f"there: {found.text if found.code else 'found'}; with one that is missing: {both.code or both.text}"
    return Finding(not found.code and both.code == "ImageNotFoundException", seen)


@SECTION.fact(
    "A repository that is missing is `RepositoryNotFoundException`, also for `DescribeImages`.",
    source=f"{_REFERENCE}, DescribeImages",
    relied_on_by=_TARGET,
    emulated_in=_LOCAL,
    errors=["RepositoryNotFoundException"],
)
def describe_missing_repository(site: Site) -> Finding:
    return refusal(
        lambda: site.ecr.describe_images(
            repositoryName=site.run.repository("not-there"), imageIds=[{"imageTag": "latest"}]
        )
    ).is_one_of("RepositoryNotFoundException")


@SECTION.fact(
    "`DescribeImages` takes 100 tags, and no more.",
    source=f"{_REFERENCE}, DescribeImages",
    relied_on_by=_TARGET,
    emulated_in=("local/ecr/shapes.py",),
    errors=["InvalidParameterException"],
)
def hundred_tags(site: Site) -> Finding:
    repository = site.repository("moved")

    def ask(count: int) -> str:
        tags = [{"imageTag": f"missing-{number}"} for number in range(count)]
        return refusal(lambda: site.ecr.describe_images(repositoryName=repository, imageIds=tags)).code

    seen = {100: ask(100), 101: ask(101)}
    return Finding(seen == {100: "ImageNotFoundException", 101: "InvalidParameterException"}, str(seen))


@SECTION.fact(
    "`ListImages` returns up to 1,000 tags in a page, each with its digest.",
    source=f"{_REFERENCE}, ListImages",
    relied_on_by=("ecr/target.py", "aws/ecr_sources.py"),
    emulated_in=_LOCAL,
)
def list_images(site: Site) -> Finding:
    repository = site.repository("moved")
    image = _image(site, repository, 4)
    refusal(lambda: _moved(image, site, repository, "listed"))
    answer = site.ecr.list_images(repositoryName=repository, maxResults=1000, filter={"tagStatus": "TAGGED"})
    found = {each.get("imageTag"): each["imageDigest"] for each in answer["imageIds"]}
    return Finding(found.get("listed") == image.digest, f"{len(found)} tags in a page of at most 1,000")


@SECTION.fact(
    "A repository that exists is not created again: `RepositoryAlreadyExistsException`.",
    source=f"{_REFERENCE}, CreateRepository",
    relied_on_by=("ecr/repositories.py",),
    emulated_in=("local/ecr/repositories.py",),
    errors=["RepositoryAlreadyExistsException"],
)
def repository_exists(site: Site) -> Finding:
    repository = site.repository("images")
    return refusal(lambda: site.ecr.create_repository(repositoryName=repository)).is_one_of(
        "RepositoryAlreadyExistsException"
    )


@SECTION.fact(
    "`CreateRepository` and `PutLifecyclePolicy` take what Pullahead makes: a rule that expires untagged images by "
    "`sinceImagePulled`.",
    source="Amazon ECR User Guide, Lifecycle policy properties",
    relied_on_by=("ecr/repositories.py",),
    emulated_in=_SETTINGS,
)
def lifecycle_policy(site: Site) -> Finding:
    repository = site.run.repository("expiring")
    create_repository(site.account.client("ecr"), repository, None, _EXPIRE_DAYS)
    text = site.ecr.get_lifecycle_policy(repositoryName=repository)["lifecyclePolicyText"]
    selection = json.loads(text)["rules"][0]["selection"]
    expected = {
        "tagStatus": "untagged",
        "countType": "sinceImagePulled",
        "countUnit": "days",
        "countNumber": _EXPIRE_DAYS,
    }
    return Finding(selection == expected, f"kept: {selection['countType']}, {selection['countNumber']} days")


@SECTION.fact(
    "Repository creation templates are described with the settings that Pullahead applies, as ECR does not apply them "
    "to `CreateRepository`.",
    source="Amazon ECR User Guide, Repository creation templates",
    relied_on_by=("ecr/repositories.py",),
    emulated_in=("local/ecr/api_templates.py",),
)
def creation_template(site: Site) -> Finding:
    policy = json.dumps(
        {
            "rules": [
                {
                    "rulePriority": 1,
                    "selection": {"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": 7},
                    "action": {"type": "expire"},
                }
            ]
        }
    )
    prefix = site.run.repository("by-template")
    site.ecr.create_repository_creation_template(
        prefix=prefix, appliedFor=["PULL_THROUGH_CACHE"], imageTagMutability="IMMUTABLE", lifecyclePolicy=policy
    )
    repository = f"{prefix}/app"
    plain = site.repository("by-template/plain")
    create_repository(site.account.client("ecr"), repository, None)
    (described,) = site.ecr.describe_repositories(repositoryNames=[repository])["repositories"]
    (by_ecr,) = site.ecr.describe_repositories(repositoryNames=[plain])["repositories"]
    kept = json.loads(site.ecr.get_lifecycle_policy(repositoryName=repository)["lifecyclePolicyText"])
    seen = (described["imageTagMutability"], kept["rules"][0]["selection"]["countNumber"], by_ecr["imageTagMutability"])
    return Finding(
        seen == ("IMMUTABLE", 7, "MUTABLE"),
        f"applied: {seen[0]}, count {seen[1]}; by ECR to CreateRepository: {seen[2]}",
    )


@SECTION.fact(
    "The Resource Groups Tagging API finds repositories by a tag key, soon after they are created.",
    source="Resource Groups Tagging API reference, GetResources; how soon is not documented",
    relied_on_by=("aws/ecr_sources.py",),
    emulated_in=("local/ecr/tagging.py",),
)
def repositories_by_tag(site: Site) -> Finding:
    repository = site.repository("images")
    tagged = EcrTaggedRepositories(site.account.client("resourcegroupstaggingapi"))

    def look() -> str | None:
        found = {each.name: each.tags for each in tagged.repositories_with([TAG])}
        return found.get(repository, {}).get(TAG)

    waited = site.waits.until(look, _LISTED_SECONDS)
    if waited is None:
        return Finding(False, f"not listed after {_LISTED_SECONDS:.0f} s")
    return Finding(waited.value == site.run.name, f"listed {waited.after}")


SECTION.unchecked(
    "limits-of-images",
    "`PutImage` beyond a quota (1,000 tags of an image, 100,000 images of a repository) is `LimitExceededException`.",
    source=f"{_REFERENCE}, PutImage; service quotas",
    relied_on_by=("ecr/errors.py",),
    reason="it would need 1,000 calls at 10 a second, which throttles the account",
    errors=["LimitExceededException"],
)
SECTION.unchecked(
    "kms-refusal",
    "A repository whose KMS key the caller may not use is refused with `KmsException`.",
    source=f"{_REFERENCE}, InitiateLayerUpload",
    relied_on_by=("ecr/errors.py",),
    reason="it needs a customer managed key, which cannot be deleted at once and costs 1 USD a month",
    errors=["KmsException"],
)
SECTION.unchecked(
    "archived-layers",
    "Layers of archived images are ARCHIVED, not AVAILABLE, and are uploaded again.",
    source=f"{_REFERENCE}, BatchCheckLayerAvailability",
    relied_on_by=_TARGET,
    reason="AWS bills an archived image for at least 90 days",
)
SECTION.unchecked(
    "describe-is-no-pull",
    "`DescribeImages` neither counts as a pull nor makes the pull through cache ask its upstream.",
    source="Amazon ECR User Guide, Pull through cache; inferred for lastRecordedPullTime",
    relied_on_by=_TARGET,
    reason="ECR updates lastRecordedPullTime about once in 24 hours",
)
SECTION.unchecked(
    "children-outlive-their-index",
    "A lifecycle policy does not expire a manifest that an index names before the index.",
    source="Amazon ECR User Guide, Lifecycle policies",
    relied_on_by=("ecr/repositories.py",),
    reason="a policy acts after a day at the earliest",
)
