"""URLs of functions: HTTP in, an event for the function, HTTP out, with the authorization of AWS."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from local.aws.server import LocalAws
from local.deploy import DeploymentError, deploy
from local.deploy.verify import verify
from tests.polling import until

HANDLER = """
import json
import time

def handler(event, context):
    if event["rawPath"] == "/slow":
        time.sleep(1)
    if event["rawPath"] == "/fail":
        raise ValueError("no")
    if event["rawPath"] == "/plain":
        return {"hello": "world"}
    return {"statusCode": 202, "headers": {"x-seen": "yes"}, "body": json.dumps(event)}
"""
FUNCTION: dict[str, Any] = {
    "Type": "AWS::Serverless::Function",
    "Properties": {
        "Runtime": "python3.13",
        "Handler": "app.handler",
        "ReservedConcurrentExecutions": 1,
        "FunctionUrlConfig": {"AuthType": "NONE"},
    },
}


def write(folder: Path, **properties: Any) -> Path:
    """Write a template with the one function, whose code lies beside it."""
    (folder / "code").mkdir(exist_ok=True)
    (folder / "code" / "app.py").write_text(HANDLER)
    function = {**FUNCTION, "Properties": {**FUNCTION["Properties"], "CodeUri": "code", **properties}}
    url = {"Value": {"Fn::GetAtt": ["WorkerUrl", "FunctionUrl"]}}
    path = folder / "template.yaml"
    path.write_text(
        yaml.safe_dump(
            {
                "Transform": "AWS::Serverless-2016-10-31",
                "Resources": {"Worker": function},
                "Outputs": {"Url": url},
            }
        )
    )
    return path


class Served:
    """The function, deployed, and its URL."""

    def __init__(self, aws: LocalAws, url: str, name: str) -> None:
        self.aws, self.url, self.name = aws, url, name

    def ask(self, path: str = "", method: str = "POST", **more: Any) -> requests.Response:
        return requests.request(method, f"{self.url}{path}", timeout=20, **more)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("urls")
    with LocalAws(folder / "aws") as aws:
        stack = deploy(aws, write(folder))
        yield Served(aws, stack.outputs["Url"], stack.resources["Worker"])


def test_call_arrives_as_the_event_that_lambda_makes(served: Served) -> None:
    answer = served.ask("git%2Fhub/x?a=1", json={"b": 2}, headers={"X-Hub-Signature-256": "sha256=ab"})
    assert (answer.status_code, answer.headers["x-seen"]) == (202, "yes")
    event = answer.json()
    assert (event["version"], event["rawPath"], event["rawQueryString"]) == ("2.0", "/git%2Fhub/x", "a=1")
    assert (event["body"], event["isBase64Encoded"]) == ('{"b": 2}', False)
    assert event["headers"]["x-hub-signature-256"] == "sha256=ab"
    assert event["requestContext"]["http"]["method"] == "POST"
    assert event["requestContext"]["http"]["sourceIp"] == "127.0.0.1"


def test_body_of_another_type_is_base64(served: Served) -> None:
    event = served.ask(data=b"\xff", headers={"Content-Type": "application/vnd.docker.events.v1+json"}).json()
    assert (event["body"], event["isBase64Encoded"]) == ("/w==", True)


def test_call_without_a_body_has_none(served: Served) -> None:
    assert "body" not in served.ask(method="GET").json()


def test_answer_that_is_no_response_is_the_body(served: Served) -> None:
    answer = served.ask("plain")
    assert (answer.status_code, answer.json()) == (200, {"hello": "world"})


def test_function_that_fails_is_a_bad_gateway(served: Served) -> None:
    assert served.ask("fail").status_code == 502


def test_body_that_lambda_does_not_take_is_refused(served: Served) -> None:
    before = len(served.aws.invocations)
    assert served.ask(data=b"x" * (6 * 1024 * 1024 + 1)).status_code == 413
    assert len(served.aws.invocations) == before


def test_call_beyond_the_reserved_concurrency_is_refused(served: Served) -> None:
    slow: list[int] = []
    thread = threading.Thread(target=lambda: slow.append(served.ask("slow").status_code))
    thread.start()
    until(lambda: any(served.name in each for each in served.aws.busy()), "the function runs")
    refused = served.ask().status_code
    thread.join()
    assert (refused, slow) == (429, [202])
    assert served.ask().status_code == 202


def test_call_beyond_the_accounts_concurrency_is_refused(served: Served) -> None:
    served.aws.concurrency.limit = 0
    refused = served.ask().status_code
    served.aws.concurrency.limit = None
    assert (refused, served.ask().status_code) == (429, 202)


@pytest.mark.parametrize("missing", ["lambda:InvokeFunctionUrl", "lambda:InvokeFunction"])
def test_url_without_one_of_both_permissions_refuses_every_call(served: Served, missing: str) -> None:
    client = served.aws.client("lambda")
    role = client.get_function_configuration(FunctionName=served.name)["Role"]
    shy = client.create_function(
        FunctionName=f"shy-{missing[7:]}",
        Runtime="python3.13",
        Role=role,
        Handler="app.handler",
        Code={"ZipFile": b"PK\x05\x06" + b"\x00" * 18},
    )["FunctionName"]
    url = client.create_function_url_config(FunctionName=shy, AuthType="NONE")["FunctionUrl"]
    (other,) = {"lambda:InvokeFunctionUrl", "lambda:InvokeFunction"} - {missing}
    client.add_permission(FunctionName=shy, StatementId="s", Action=other, Principal="*")
    assert requests.get(url, timeout=20).status_code == 403


def test_url_of_no_function_is_not_found(served: Served) -> None:
    assert requests.get(f"{served.aws.url}/_url/nobody/", timeout=20).status_code == 404


def test_url_for_signed_calls_alone_is_refused_by_the_deployment(served: Served) -> None:
    declared = {"Type": "AWS::Lambda::Url", "Properties": {"AuthType": "AWS_IAM"}}
    with pytest.raises(DeploymentError, match="kind of authorization is 'NONE' and not 'AWS_IAM'"):
        verify(served.aws, {"Resources": {"Url": declared}}, {"Url": served.name})
