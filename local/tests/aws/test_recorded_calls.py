"""Calls by roles are recorded as the permissions that they require; calls by others are not."""

import base64
import io
import json
from collections.abc import Iterable
from typing import Any

import pytest

from local.aws.api_actions import UNKNOWN
from local.aws.recorded_calls import RecordedCalls, access_key_of

ROLE = "arn:aws:iam::123456789012:role/stack-CopyRole"
ECR = "AmazonEC2ContainerRegistry_V20150921"
REPOSITORY = "arn:aws:ecr:eu-west-1:123456789012:repository"


class Server:
    """Answers every request, and remembers what it was sent."""

    def __init__(self, recorded: RecordedCalls, status: str = "200 OK", body: bytes = b"{}") -> None:
        self._app = recorded.before(self._answer)
        self._status, self._body = status, body
        self.received: list[bytes] = []

    def _answer(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        self.received.append(environ["wsgi.input"].read())
        start_response(self._status, [])
        return [self._body]

    def ask(self, method: str, url: str, body: bytes = b"", **headers: str) -> bytes:
        path, _, query = url.partition("?")
        environ = {
            "REQUEST_METHOD": method,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "CONTENT_LENGTH": str(len(body)),
            "wsgi.input": io.BytesIO(body),
            **headers,
        }
        return b"".join(self._app(environ, lambda *_: None))


def signed(service: str, key: str = access_key_of(ROLE)) -> str:
    return (
        f"AWS4-HMAC-SHA256 Credential={key}/20261124/eu-west-1/{service}/aws4_request, SignedHeaders=host, Signature=a"
    )


def json_call(service: str, target: str, parameters: dict[str, Any]) -> list[tuple[str, str]]:
    recorded = RecordedCalls()
    server, body = Server(recorded), json.dumps(parameters).encode()
    server.ask("POST", "/", body, HTTP_AUTHORIZATION=signed(service), HTTP_X_AMZ_TARGET=target)
    assert server.received == [body]
    return permissions(recorded)


def permissions(recorded: RecordedCalls) -> list[tuple[str, str]]:
    assert {call.role for call in recorded} <= {"stack-CopyRole"}
    return [(call.action, call.resource) for call in recorded]


def arn(service: str, resource: str) -> str:
    return f"arn:aws:{service}:eu-west-1:123456789012:{resource}"


@pytest.mark.parametrize(
    ("service", "target", "parameters", "expected"),
    [
        ("ecr", f"{ECR}.PutImage", {"repositoryName": "a/b"}, [("ecr:PutImage", f"{REPOSITORY}/a/b")]),
        ("ecr", f"{ECR}.DescribeRepositories", {}, [("ecr:DescribeRepositories", f"{REPOSITORY}/*")]),
        (
            "ecr",
            f"{ECR}.DescribeRepositories",
            {"repositoryNames": ["a", "b"]},
            [("ecr:DescribeRepositories", f"{REPOSITORY}/a"), ("ecr:DescribeRepositories", f"{REPOSITORY}/b")],
        ),
        ("ecr", f"{ECR}.CreateRepository", {"repositoryName": "a"}, [("ecr:CreateRepository", f"{REPOSITORY}/a")]),
        (
            "ecr",
            f"{ECR}.CreateRepository",
            {"repositoryName": "a", "tags": [{"Key": "k", "Value": "v"}]},
            [("ecr:CreateRepository", f"{REPOSITORY}/a"), ("ecr:TagResource", f"{REPOSITORY}/a")],
        ),
        (
            "ecr",
            f"{ECR}.ListImageReferrers",
            {"repositoryName": "a"},
            [("ecr:ListImageReferrers", f"{REPOSITORY}/a"), ("ecr:BatchGetImage", f"{REPOSITORY}/a")],
        ),
        ("ecr", f"{ECR}.GetAccountSetting", {"name": "BLOB_MOUNTING"}, [("ecr:GetAccountSetting", "*")]),
        ("sqs", "AmazonSQS.SendMessageBatch", {"QueueUrl": "http://x/1/q"}, [("sqs:SendMessage", arn("sqs", "q"))]),
        (
            "dynamodb",
            "DynamoDB_20120810.BatchGetItem",
            {"RequestItems": {"t": {"Keys": [{"pk": {"S": "a"}}]}}},
            [("dynamodb:BatchGetItem", arn("dynamodb", "table/t"))],
        ),
        (
            "dynamodb",
            "DynamoDB_20120810.TransactWriteItems",
            {
                "TransactItems": [
                    {"Put": {"TableName": "t", "Item": {"pk": {"S": "a"}, "b": {"N": "1"}}}},
                    {"ConditionCheck": {"TableName": "u", "Key": {"pk": {"S": "c"}}}},
                ]
            },
            [
                ("dynamodb:PutItem", arn("dynamodb", "table/t")),
                ("dynamodb:ConditionCheckItem", arn("dynamodb", "table/u")),
            ],
        ),
        ("states", "AWSStepFunctions.StartExecution", {"stateMachineArn": "m"}, [("states:StartExecution", "m")]),
        ("states", "AWSStepFunctions.DescribeExecution", {"executionArn": "e"}, [("states:DescribeExecution", "e")]),
        (
            "events",
            "AWSEvents.PutEvents",
            {"Entries": [{"Source": "a"}, {"Source": "a"}]},
            [("events:PutEvents", arn("events", "event-bus/default"))],
        ),
        ("ssm", "AmazonSSM.GetParameter", {"Name": "/a/b"}, [("ssm:GetParameter", arn("ssm", "parameter/a/b"))]),
        (
            "secretsmanager",
            "secretsmanager.GetSecretValue",
            {"SecretId": "a"},
            [("secretsmanager:GetSecretValue", arn("secretsmanager", "secret:a-??????"))],
        ),
        ("tagging", "ResourceGroupsTaggingAPI_20170126.GetResources", {}, [("tag:GetResources", "*")]),
        ("kinesis", "Kinesis_20131202.PutRecord", {}, [("kinesis:PutRecord", UNKNOWN)]),
    ],
)
def test_json_calls(service: str, target: str, parameters: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    assert json_call(service, target, parameters) == expected


@pytest.mark.parametrize(
    ("service", "form", "expected"),
    [
        ("sns", "Action=Publish&TopicArn=topic", [("sns:Publish", "topic")]),
        ("sns", "Action=PublishBatch&TopicArn=topic", [("sns:Publish", "topic")]),
        ("sts", "Action=AssumeRole&RoleArn=role", [("sts:AssumeRole", "role")]),
        ("sts", "Action=GetCallerIdentity", []),
    ],
)
def test_query_calls(service: str, form: str, expected: list[tuple[str, str]]) -> None:
    recorded = RecordedCalls()
    headers = {"HTTP_AUTHORIZATION": signed(service), "CONTENT_TYPE": "application/x-www-form-urlencoded"}
    Server(recorded).ask("POST", "/", form.encode(), **headers)
    assert permissions(recorded) == expected


@pytest.mark.parametrize(
    ("method", "url", "status", "expected"),
    [
        ("GET", "/b/plans/one", "200 OK", [("s3:GetObject", "arn:aws:s3:::b/plans/one")]),
        ("HEAD", "/b/one", "200 OK", [("s3:GetObject", "arn:aws:s3:::b/one")]),
        ("GET", "/b/one", "404 No", [("s3:GetObject", "arn:aws:s3:::b/one"), ("s3:ListBucket", "arn:aws:s3:::b")]),
        ("PUT", "/b/one", "200 OK", [("s3:PutObject", "arn:aws:s3:::b/one")]),
        ("PUT", "/b/one", "403 No", [("s3:PutObject", "arn:aws:s3:::b/one")]),
        ("GET", "/b?list-type=2", "200 OK", [("s3:ListBucket", "arn:aws:s3:::b")]),
        ("POST", "/b/one?uploads", "200 OK", [("s3:PutObject", "arn:aws:s3:::b/one")]),
        ("PUT", "/b/one?partNumber=1&uploadId=2", "200 OK", [("s3:PutObject", "arn:aws:s3:::b/one")]),
        ("DELETE", "/b/one?uploadId=2", "204 No", [("s3:?", UNKNOWN)]),
        ("GET", "/b/one?acl", "200 OK", [("s3:?", UNKNOWN)]),
        ("PUT", "/b", "200 OK", [("s3:PUT", UNKNOWN)]),
    ],
)
def test_s3_calls(method: str, url: str, status: str, expected: list[tuple[str, str]]) -> None:
    recorded = RecordedCalls()
    Server(recorded, status).ask(method, url, HTTP_AUTHORIZATION=signed("s3"))
    assert permissions(recorded) == expected


def test_sources_of_events_are_recorded_since_policies_name_them() -> None:
    recorded = RecordedCalls()
    body = json.dumps({"Entries": [{"Source": "ours"}, {"Source": "theirs"}, {"Source": "ours"}]}).encode()
    headers = {"HTTP_AUTHORIZATION": signed("events"), "HTTP_X_AMZ_TARGET": "AWSEvents.PutEvents"}
    Server(recorded).ask("POST", "/", body, **headers)
    assert [call.context for call in recorded] == [(("events:source", "ours"),), (("events:source", "theirs"),)]


def test_lambda_calls() -> None:
    recorded = RecordedCalls()
    server = Server(recorded)
    for name in ("f", "arn%3Aaws%3Alambda%3Aeu-west-1%3A123456789012%3Afunction%3Af"):
        server.ask("POST", f"/2015-03-31/functions/{name}/invocations", HTTP_AUTHORIZATION=signed("lambda"))
    server.ask("GET", "/2015-03-31/functions/f", HTTP_AUTHORIZATION=signed("lambda"))
    assert permissions(recorded) == [("lambda:InvokeFunction", arn("lambda", "function:f")), ("lambda:GET", UNKNOWN)]


@pytest.mark.parametrize(
    ("method", "path", "actions"),
    [
        ("GET", "/v2/", []),
        ("POST", "/v2/a/b/blobs/uploads/", ["InitiateLayerUpload"]),
        ("PATCH", "/v2/a/b/blobs/uploads/1", ["UploadLayerPart"]),
        ("PUT", "/v2/a/b/blobs/uploads/1?digest=d", ["UploadLayerPart", "CompleteLayerUpload"]),
        ("HEAD", "/v2/a/b/blobs/sha256:1", ["BatchCheckLayerAvailability"]),
        ("GET", "/v2/a/b/blobs/sha256:1", ["GetDownloadUrlForLayer"]),
        ("HEAD", "/v2/a/b/manifests/1.0", ["BatchGetImage"]),
        ("PUT", "/v2/a/b/manifests/1.0", ["PutImage"]),
        ("GET", "/v2/a/b/tags/list", ["ListImages"]),
    ],
)
def test_docker_endpoint_is_identified_by_the_password(method: str, path: str, actions: list[str]) -> None:
    recorded = logged_in()
    Server(recorded).ask(method, path, HTTP_AUTHORIZATION=f"Basic {TOKEN}")
    Server(recorded).ask(method, path, HTTP_AUTHORIZATION="Basic c29tZWJvZHk6ZWxzZQ==")
    assert permissions(recorded)[1:] == [(f"ecr:{action}", f"{REPOSITORY}/a/b") for action in actions]


def test_mounted_layer_is_read_from_where_it_is() -> None:
    recorded = logged_in()
    Server(recorded).ask("POST", "/v2/a/blobs/uploads/?mount=d&from=other/b", HTTP_AUTHORIZATION=f"Basic {TOKEN}")
    assert permissions(recorded)[1:] == [
        ("ecr:InitiateLayerUpload", f"{REPOSITORY}/a"),
        ("ecr:GetDownloadUrlForLayer", f"{REPOSITORY}/other/b"),
    ]


def test_unknown_docker_request_is_recorded_by_its_method() -> None:
    recorded = logged_in()
    Server(recorded).ask("DELETE", "/v2/a/manifests/1.0", HTTP_AUTHORIZATION=f"Basic {TOKEN}")
    assert permissions(recorded)[1:] == [("ecr:DELETE", UNKNOWN)]


def test_only_calls_of_functions_are_recorded() -> None:
    recorded = RecordedCalls()
    server = Server(recorded)
    for authorization in (signed("s3", "local"), signed("s3", "ASIA1234"), "Bearer x", ""):
        server.ask("GET", "/b/one", HTTP_AUTHORIZATION=authorization)
    assert list(recorded) == []


def test_same_call_is_recorded_once() -> None:
    recorded = RecordedCalls()
    server = Server(recorded)
    for _ in range(3):
        server.ask("GET", "/b/one", HTTP_AUTHORIZATION=signed("s3"))
    assert len(list(recorded)) == 1


TOKEN = base64.b64encode(b"AWS:password").decode()


def logged_in() -> RecordedCalls:
    """Let the role fetch a password for the Docker endpoint, which is the first call then."""
    recorded = RecordedCalls()
    body = json.dumps({"authorizationData": [{"authorizationToken": TOKEN}]}).encode()
    headers = {"HTTP_AUTHORIZATION": signed("ecr"), "HTTP_X_AMZ_TARGET": f"{ECR}.GetAuthorizationToken"}
    assert Server(recorded, body=body).ask("POST", "/", b"{}", **headers) == body
    return recorded


KEYS, ATTRIBUTES, SELECT = "dynamodb:leadingkeys", "dynamodb:attributes", "dynamodb:select"


@pytest.mark.parametrize(
    ("operation", "parameters", "contexts"),
    [
        (
            "BatchGetItem",
            {"RequestItems": {"t": {"Keys": [{"pk": {"S": "a#1"}}, {"pk": {"S": "b"}}, {"pk": {"S": "b"}}]}}},
            [((KEYS, "a#1"), (KEYS, "b"))],
        ),
        ("PutItem", {"TableName": "t", "Item": {"pk": {"S": "a"}, "line": {"S": "b"}}}, [((KEYS, "a"),)]),
        ("UpdateItem", {"TableName": "t", "Key": {"pk": {"S": "a"}}}, [((KEYS, "a"),)]),
        (
            "TransactWriteItems",
            {
                "TransactItems": [
                    {"Put": {"TableName": "t", "Item": {"pk": {"S": "a"}}}},
                    {"Delete": {"TableName": "t", "Key": {"pk": {"S": "b"}}}},
                ]
            },
            [((KEYS, "a"),), ((KEYS, "b"),)],
        ),
        (
            "Scan",
            {
                "TableName": "t",
                "FilterExpression": "begins_with(pk, :prefix) AND #a > :more",
                "ProjectionExpression": "pk, #record",
                "ExpressionAttributeNames": {"#record": "record", "#a": "age"},
            },
            [((ATTRIBUTES, "pk"), (ATTRIBUTES, "age"), (ATTRIBUTES, "record"), (SELECT, "SPECIFIC_ATTRIBUTES"))],
        ),
        ("Scan", {"TableName": "t"}, [((SELECT, "ALL_ATTRIBUTES"),)]),
    ],
)
def test_keys_and_attributes_of_items_are_recorded(
    operation: str, parameters: dict[str, Any], contexts: list[tuple[tuple[str, str], ...]]
) -> None:
    recorded = RecordedCalls()
    target = f"DynamoDB_20120810.{operation}"
    body = json.dumps(parameters).encode()
    Server(recorded).ask("POST", "/", body, HTTP_AUTHORIZATION=signed("dynamodb"), HTTP_X_AMZ_TARGET=target)
    assert [call.context for call in recorded] == contexts
