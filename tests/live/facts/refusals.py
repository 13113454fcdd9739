"""Facts about ECR's throttling, and about errors that no run can provoke."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from local.images import make_image
from tests.live.endpoint import answered, endpoint
from tests.live.fact import Finding, Section, UnmetError
from tests.live.site import Site, refusal

SECTION: Final = Section("Throttling and other errors")

_CALLS: Final = 120  # many times the 10 a second of the quota
_AT_ONCE: Final = 30
_ERRORS: Final = ("ecr/errors.py",)
_COMMON: Final = "ECR API reference, Common errors"


@SECTION.fact(
    "`PutImage` beyond its quota of 10 a second is refused with `ThrottlingException`.",
    source="Amazon ECR User Guide, service quotas; the name is observed by third parties",
    relied_on_by=("ecr/errors.py", "ecr/quotas.py"),
    emulated_in=("local/ecr/quotas.py",),
    errors=["ThrottlingException"],
)
def throttled_api(site: Site) -> Finding:
    image, repository = make_image(seed=60), site.repository("throttled")
    site.push(image, repository)
    text, once = image.root.content.decode(), site.account.client("ecr", attempts=1)

    def put(number: int) -> str:
        return refusal(
            lambda: once.put_image(repositoryName=repository, imageManifest=text, imageTag=f"t{number}")
        ).code

    return _throttled(put, "ThrottlingException")


@SECTION.fact(
    "The same over /v2 is 429 TOOMANYREQUESTS.",
    source="OCI distribution specification 1.1, Error Codes; observed by third parties",
    relied_on_by=("registry/errors.py",),
    emulated_in=("local/ecr/quotas.py", "local/ecr/v2_http.py"),
)
def throttled_v2(site: Site) -> Finding:
    image, repository, registry = make_image(seed=61), site.repository("throttled"), endpoint(site)
    site.push(image, repository)
    headers = {"Content-Type": image.root.descriptor.media_type}

    def put(number: int) -> str:
        path = f"/v2/{repository}/manifests/v{number}"
        answer = registry.ask("PUT", path, headers=headers, data=image.root.content)
        return "" if answer.status_code == 201 else answered(answer)

    return _throttled(put, "429 TOOMANYREQUESTS")


def _throttled(put: Callable[[int], str], expected: str) -> Finding:
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        refused = [code for code in pool.map(put, range(_CALLS)) if code]
    if not refused:
        raise UnmetError(f"{_CALLS} calls, {_AT_ONCE} at a time, were not throttled")
    return Finding(set(refused) == {expected}, f"{', '.join(sorted(set(refused)))}: {len(refused)} of {_CALLS} calls")


SECTION.unchecked(
    "expired-keys",
    "Keys of AWS that have expired are refused with `ExpiredTokenException`; the call is repeated with new ones.",
    source=_COMMON,
    relied_on_by=_ERRORS,
    reason="the shortest session takes 15 minutes to expire",
    errors=["ExpiredTokenException"],
)
SECTION.unchecked(
    "denied-action",
    "What a policy does not allow is refused with `AccessDeniedException`.",
    source=_COMMON,
    relied_on_by=_ERRORS,
    reason="the credentials of a run may do everything; roles-refuse-other-resources asks IAM instead",
    errors=["AccessDeniedException"],
)
SECTION.unchecked(
    "refused-signature",
    "A push that a rule of managed signing covers is refused with `AccessDeniedException` that names "
    "`signer:SignPayload`, unless the caller may sign with the profile.",
    source="Amazon ECR User Guide, Managed signing; the refusal is inferred from aws/containers-roadmap#2830",
    relied_on_by=(*_ERRORS, "registry/errors.py", "template.yaml"),
    reason="signing is a setting of the whole registry, and signing profiles cannot be deleted",
)
SECTION.unchecked(
    "errors-of-the-service",
    "`ServerException`, `RequestTimeoutException`, `RequestAbortedException`, `RequestExpired` and "
    "`TooManyRequestsException` pass; the call is repeated.",
    source=_COMMON,
    relied_on_by=_ERRORS,
    reason="a fault of the service cannot be provoked",
    errors=[
        "ServerException",
        "RequestTimeoutException",
        "RequestAbortedException",
        "RequestExpired",
        "TooManyRequestsException",
    ],
)
SECTION.unchecked(
    "invalid-request",
    "`ValidationException` means the same as `InvalidParameterException`.",
    source="ECR API reference; which calls use it is not documented for those that are made here",
    relied_on_by=_ERRORS,
    reason="no call that Pullahead makes is documented to be refused so",
    errors=["ValidationException"],
)
