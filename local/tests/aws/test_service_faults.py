"""A fault is answered as the service answers it: Step Functions retries Lambda's errors by their names."""

import json
from collections.abc import Callable
from io import BytesIO
from typing import Any

import pytest

from local.aws.service_faults import ServiceCall, ServiceFault, ServiceFaults


def answered(service: str, fault: ServiceFault | None) -> tuple[str, dict[str, str], bytes, list[bytes]]:
    """Send a request of a role; return status, headers and body, and what the service has received."""
    faults, received, started = ServiceFaults(), list[bytes](), list[tuple[str, dict[str, str]]]()
    faults.decide = lambda call: fault if call == ServiceCall(service, "") else None

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        received.append(environ["wsgi.input"].read(2))
        start_response("200 OK", [])
        return [b"done"]

    signed = f"AWS4-HMAC-SHA256 Credential=local.role/20261130/eu-west-1/{service}/aws4_request, Signature=0"
    environ = {"HTTP_AUTHORIZATION": signed, "CONTENT_LENGTH": "2", "wsgi.input": BytesIO(b"{}")}
    body = b"".join(faults.before(app)(environ, lambda status, headers: started.append((status, dict(headers)))))
    return *started[-1], body, received


@pytest.mark.parametrize(
    ("service", "fault", "status", "name"),
    [
        ("lambda", ServiceFault.THROTTLED, 429, "TooManyRequestsException"),
        ("lambda", ServiceFault.FAILED, 500, "ServiceException"),
        ("lambda", ServiceFault.ANSWER_LOST, 500, "ServiceException"),
        ("dynamodb", ServiceFault.THROTTLED, 400, "ThrottlingException"),
        ("sqs", ServiceFault.FAILED, 500, "InternalFailure"),
    ],
)
def test_fault_has_the_services_status_its_error_and_a_request_id(
    service: str, fault: ServiceFault, status: int, name: str
) -> None:
    line, headers, body, _ = answered(service, fault)
    assert (int(line[:3]), headers["x-amzn-ErrorType"], json.loads(body)["__type"]) == (status, name, name)
    assert headers["x-amzn-RequestId"]


@pytest.mark.parametrize(
    ("fault", "received"), [(None, [b"{}"]), (ServiceFault.ANSWER_LOST, [b"{}"]), (ServiceFault.FAILED, [])]
)
def test_only_a_request_whose_answer_is_lost_has_taken_effect(
    fault: ServiceFault | None, received: list[bytes]
) -> None:
    assert answered("lambda", fault)[3] == received
