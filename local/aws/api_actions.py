"""Says which IAM actions a request needs, on which resources: Service Authorization Reference, service by service.

Asks nobody: a request's own words are enough. An operation that is not known here needs the action of its name on the
resource `unknown`, which no policy allows.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

from local.aws import ACCOUNT_ID, REGION

DOCKER: Final = "ecr-v2"
"""The name of ECR's Docker endpoint here; its requests are not signed."""
UNKNOWN: Final = "unknown"
_EVERYTHING: Final = "*"


class ApiRequest(NamedTuple):
    """One HTTP request to AWS."""

    service: str  # as the signature names it
    region: str
    method: str
    path: str
    query: Mapping[str, str]
    operation: str  # "" where the path says it
    parameters: Mapping[str, Any]


class Needed(NamedTuple):
    """One permission, and what IAM knows of the request besides: condition keys of the service, in small letters."""

    action: str
    resource: str
    context: tuple[tuple[str, str], ...] = ()


def actions_of(request: ApiRequest, status: int) -> list[Needed]:
    """List the permissions that a request required, given the status of its response."""
    if request.service == "s3":
        return list(_s3(request, status))
    if request.service == "lambda":
        return list(_lambda(request))
    if request.service == "events":
        return list(_events(request))
    if request.service == "dynamodb":
        return list(_dynamodb(request))
    if request.service == DOCKER:
        return list(_docker(request))
    if request.operation in _FREE:
        return []
    find = _RESOURCES.get(request.service, _not_known)
    prefix = "tag" if request.service == "tagging" else request.service
    return [Needed(f"{prefix}:{action}", resource) for action, resource in find(request)]


# STS API reference, GetCallerIdentity: no permissions are required.
_FREE: Final = frozenset({"GetCallerIdentity"})

# ECR's actions without resource types: Service Authorization Reference, Amazon Elastic Container Registry.
_ECR_EVERYTHING: Final = frozenset(
    {
        *("GetAuthorizationToken", "GetAccountSetting", "DescribePullThroughCacheRules"),
        *("DescribeRepositoryCreationTemplates", "DescribeRegistry", "GetRegistryPolicy"),
    }
)
_ITEM_ACTIONS: Final = MappingProxyType(
    {"Put": "PutItem", "Update": "UpdateItem", "Delete": "DeleteItem", "ConditionCheck": "ConditionCheckItem"}
)

Pairs = Iterator[tuple[str, str]]


def _not_known(request: ApiRequest) -> Pairs:
    yield request.operation, UNKNOWN


def _arn(service: str, resource: str, region: str = REGION) -> str:
    return f"arn:aws:{service}:{region}:{ACCOUNT_ID}:{resource}"


def _ecr(request: ApiRequest) -> Pairs:
    parameters, operation = request.parameters, request.operation
    if operation in _ECR_EVERYTHING:
        yield operation, _EVERYTHING
        return
    if operation == "TagResource":
        yield operation, parameters["resourceArn"]
        return
    named = [parameters["repositoryName"]] if "repositoryName" in parameters else parameters.get("repositoryNames")
    for name in named or ["*"]:
        yield operation, _repository(name, request.region)
    if operation == "ListImageReferrers":  # ECR API reference: it requires ecr:BatchGetImage, too
        yield "BatchGetImage", _repository(parameters["repositoryName"], request.region)
    if operation == "CreateRepository" and parameters.get("tags"):
        yield "TagResource", _repository(parameters["repositoryName"], request.region)


def _repository(name: str, region: str) -> str:
    return _arn("ecr", f"repository/{name}", region)


def _dynamodb(request: ApiRequest) -> Iterator[Needed]:
    """Read table, partition keys and attributes (Service Authorization Reference, DynamoDB: condition keys)."""
    parameters, operation = request.parameters, request.operation
    if operation.startswith("TransactWrite"):
        for item in parameters["TransactItems"]:
            for kind, inner in item.items():
                keys = _leading_keys([inner.get("Key") or inner["Item"]])
                yield Needed(f"dynamodb:{_ITEM_ACTIONS[kind]}", _table(inner["TableName"]), keys)
        return
    if operation == "BatchGetItem":
        for name, wanted in parameters["RequestItems"].items():
            yield Needed("dynamodb:BatchGetItem", _table(name), _leading_keys(wanted["Keys"]))
        return
    name = parameters.get("TableName", UNKNOWN)
    if operation in ("Query", "Scan"):
        # Who reads an index needs the action on the index. A scan has no leading key.
        index = f"/index/{parameters['IndexName']}" if "IndexName" in parameters else ""
        yield Needed(f"dynamodb:{operation}", f"{_table(name)}{index}", _attributes(parameters))
        return
    item = parameters.get("Key") or parameters.get("Item")
    yield Needed(f"dynamodb:{operation}", _table(name), _leading_keys([item]) if item else ())


_PARTITION_KEY: Final = "pk"
_NAME: Final = re.compile(r"(?<![:\w#])#?[A-Za-z_]\w*(?!\w*\s*\()")
_KEYWORDS: Final = frozenset({"AND", "OR", "NOT", "BETWEEN", "IN"})


def _leading_keys(items: Iterable[Mapping[str, Any]]) -> tuple[tuple[str, str], ...]:
    """List the partition keys of items, each once; every table here has the same one."""
    return tuple(dict.fromkeys(("dynamodb:leadingkeys", str(item[_PARTITION_KEY]["S"])) for item in items))


def _attributes(parameters: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """List the attributes that a read names, and what it selects."""
    names = parameters.get("ExpressionAttributeNames", {})
    text = " ".join(str(value) for name, value in parameters.items() if name.endswith("Expression"))
    words = [word for word in _NAME.findall(text) if word.upper() not in _KEYWORDS]
    named = tuple(dict.fromkeys(("dynamodb:attributes", names.get(word, word)) for word in words))
    projects = "ProjectionExpression" in parameters
    select = parameters.get("Select", "SPECIFIC_ATTRIBUTES" if projects else "ALL_ATTRIBUTES")
    return (*named, ("dynamodb:select", select))


def _table(name: str) -> str:
    return name if name.startswith("arn:") else _arn("dynamodb", f"table/{name}")


def _sqs(request: ApiRequest) -> Pairs:
    queue = request.parameters.get("QueueUrl", UNKNOWN).rpartition("/")[2]
    yield request.operation.removesuffix("Batch"), _arn("sqs", queue)


def _sns(request: ApiRequest) -> Pairs:
    yield request.operation.removesuffix("Batch"), request.parameters.get("TopicArn", UNKNOWN)


def _states(request: ApiRequest) -> Pairs:
    parameters = request.parameters
    yield request.operation, parameters.get("executionArn") or parameters.get("stateMachineArn") or UNKNOWN


def _events(request: ApiRequest) -> Iterator[Needed]:
    """Read the bus and the source of each entry; both are judged."""
    entries = request.parameters.get("Entries", [])
    for bus, source in sorted({(each.get("EventBusName", "default"), each.get("Source", "")) for each in entries}):
        arn = bus if bus.startswith("arn:") else _arn("events", f"event-bus/{bus}")
        yield Needed(f"events:{request.operation}", arn, (("events:source", source),))


def _secrets(request: ApiRequest) -> Pairs:
    secret = request.parameters.get("SecretId", UNKNOWN)
    # A secret's ARN ends in six characters of AWS's own, which its name does not tell.
    yield request.operation, secret if secret.startswith("arn:") else _arn("secretsmanager", f"secret:{secret}-??????")


def _parameters(request: ApiRequest) -> Pairs:
    name = request.parameters.get("Name", UNKNOWN)
    yield request.operation, name if name.startswith("arn:") else _arn("ssm", f"parameter/{name.removeprefix('/')}")


def _kms(request: ApiRequest) -> Pairs:
    key = request.parameters.get("KeyId", UNKNOWN)
    # Which key an alias is for, its name does not tell; permissions are those on the key.
    yield request.operation, key if ":key/" in key else _arn("kms", f"key/{'?' * 36}")


def _sts(request: ApiRequest) -> Pairs:
    yield request.operation, request.parameters.get("RoleArn", UNKNOWN)


def _tagging(request: ApiRequest) -> Pairs:
    yield request.operation, _EVERYTHING


_RESOURCES: Final[Mapping[str, Callable[[ApiRequest], Pairs]]] = MappingProxyType(
    {
        "ecr": _ecr,
        "kms": _kms,
        "secretsmanager": _secrets,
        "sns": _sns,
        "sqs": _sqs,
        "ssm": _parameters,
        "states": _states,
        "sts": _sts,
        "tagging": _tagging,
    }
)


def _s3(request: ApiRequest, status: int) -> Iterator[Needed]:
    """Read the path style of the local AWS: /BUCKET/KEY."""
    bucket, _, key = request.path.lstrip("/").partition("/")
    if not key:
        lists = request.method == "GET" and "list-type" in request.query
        yield Needed("s3:ListBucket", f"arn:aws:s3:::{bucket}") if lists else Needed(f"s3:{request.method}", UNKNOWN)
        return
    if request.query.keys() & {"uploads", "uploadId"} and request.method in ("POST", "PUT"):
        yield Needed("s3:PutObject", f"arn:aws:s3:::{bucket}/{key}")  # of a large object, in parts
        return
    verb = {"GET": "Get", "HEAD": "Get", "PUT": "Put", "DELETE": "Delete"}.get(request.method)
    plain = verb is not None and not request.query.keys() - {"x-id", "versionId"}
    yield Needed(f"s3:{verb}Object", f"arn:aws:s3:::{bucket}/{key}") if plain else Needed("s3:?", UNKNOWN)
    if verb == "Get" and status == 404:
        # S3 API reference, GetObject: without s3:ListBucket, S3 answers 403 where an object is not there.
        yield Needed("s3:ListBucket", f"arn:aws:s3:::{bucket}")


def _lambda(request: ApiRequest) -> Iterator[Needed]:
    invoked = re.fullmatch(r"/2015-03-31/functions/([^/]+)/invocations", request.path)
    if invoked is None:
        yield Needed(f"lambda:{request.method}", UNKNOWN)
        return
    function = unquote(invoked[1])
    arn = function if function.startswith("arn:") else _arn("lambda", f"function:{function}")
    yield Needed("lambda:InvokeFunction", arn)


# Amazon ECR User Guide, "IAM permissions for pushing an image" and "… for pulling an image".
_DOCKER_ACTIONS: Final = (
    ("POST", r"/v2/(.+)/blobs/uploads/?", "InitiateLayerUpload"),
    ("PATCH", r"/v2/(.+)/blobs/uploads/[^/]+", "UploadLayerPart"),
    ("GET", r"/v2/(.+)/blobs/uploads/[^/]+", "UploadLayerPart"),
    ("PUT", r"/v2/(.+)/blobs/uploads/[^/]+", "UploadLayerPart"),  # it may carry the last part, or all of the layer
    ("PUT", r"/v2/(.+)/blobs/uploads/[^/]+", "CompleteLayerUpload"),
    ("HEAD", r"/v2/(.+)/blobs/[^/]+", "BatchCheckLayerAvailability"),
    ("GET", r"/v2/(.+)/blobs/[^/]+", "GetDownloadUrlForLayer"),
    ("HEAD", r"/v2/(.+)/manifests/[^/]+", "BatchGetImage"),
    ("GET", r"/v2/(.+)/manifests/[^/]+", "BatchGetImage"),
    ("PUT", r"/v2/(.+)/manifests/[^/]+", "PutImage"),
    ("GET", r"/v2/(.+)/tags/list", "ListImages"),
    ("GET", r"/v2/(.+)/referrers/[^/]+", "ListImageReferrers"),
)


def _docker(request: ApiRequest) -> Iterator[Needed]:
    if request.path in ("/v2", "/v2/"):
        return  # only whether the password is good
    matched = [(re.fullmatch(pattern, request.path), method, action) for method, pattern, action in _DOCKER_ACTIONS]
    if not any(found and method == request.method for found, method, _ in matched):
        yield Needed(f"ecr:{request.method}", UNKNOWN)
    for found, method, action in matched:
        if found is not None and method == request.method:
            yield Needed(f"ecr:{action}", _repository(found[1], request.region))
            if action == "InitiateLayerUpload" and request.query.get("from"):
                # Amazon ECR User Guide, "Blob mounting".
                yield Needed("ecr:GetDownloadUrlForLayer", _repository(request.query["from"], request.region))
