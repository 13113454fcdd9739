"""The stand-in for awslambdaric's native client speaks the Runtime API as the native one does."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from local.aws import lambda_sandbox
from local.aws.runtime_api import RuntimeApi, RuntimeCall, RuntimeResponse

CLIENT = Path(lambda_sandbox.__file__).with_name("runtime_client.py")
PROGRAM = """
import runtime_client
runtime_client.initialize_client("test")
body, headers = runtime_client.next()
identifier = headers["Lambda-Runtime-Aws-Request-Id"]
if body == b"{}":
    answer = body + headers["Lambda-Runtime-Deadline-Ms"].encode()
    runtime_client.post_invocation_result(identifier, answer, "text/plain")
else:
    runtime_client.post_error(identifier, '{"errorType": "OddError"}', "")
"""


@pytest.mark.parametrize(
    ("payload", "expected"),
    [(b"{}", RuntimeResponse(b"{}1000", None)), (b"odd", RuntimeResponse(b'{"errorType": "OddError"}', "OddError"))],
)
def test_stand_in_takes_an_event_and_answers(tmp_path: Path, payload: bytes, expected: RuntimeResponse) -> None:
    (tmp_path / "runtime_client.py").write_bytes(CLIENT.read_bytes())
    api = RuntimeApi()
    api.offer(RuntimeCall("id", payload, 1000, "arn", "Root=1"))

    environment = {"AWS_LAMBDA_RUNTIME_API": api.address, "PYTHONPATH": str(tmp_path)}
    subprocess.run([sys.executable, "-c", PROGRAM], env={**os.environ, **environment}, check=True, timeout=30)

    assert api.wait_answer(1) == expected
    api.close()
