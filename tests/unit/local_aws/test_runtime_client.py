"""The stand-in for awslambdaric's native client speaks the Runtime API as the native one does."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from local.aws import lambda_sandbox
from local.aws.lambda_sandbox import FunctionSpec, Place, Sandbox
from local.aws.runtime_api import Answer, Call, RuntimeApi
from local.aws.runtime_directory import runtime_directory

CLIENT = Path(lambda_sandbox.__file__).with_name("runtime_client.py")
PROGRAM = """
import runtime_client
runtime_client.initialize_client("test")
body, headers = runtime_client.next()
identifier = headers["Lambda-Runtime-Aws-Request-Id"]
if body == b"{}":
    runtime_client.post_invocation_result(identifier, body + headers["Lambda-Runtime-Deadline-Ms"].encode(), "text/plain")
else:
    runtime_client.post_error(identifier, '{"errorType": "OddError"}', "")
"""


@pytest.mark.parametrize(
    ("payload", "expected"),
    [(b"{}", Answer(b"{}1000", None)), (b"odd", Answer(b'{"errorType": "OddError"}', "OddError"))],
)
def test_stand_in_takes_an_event_and_answers(tmp_path: Path, payload: bytes, expected: Answer) -> None:
    (tmp_path / "runtime_client.py").write_bytes(CLIENT.read_bytes())
    api = RuntimeApi()
    api.offer(Call("id", payload, 1000, "arn", "Root=1"))

    environment = {"AWS_LAMBDA_RUNTIME_API": api.address, "PYTHONPATH": str(tmp_path)}
    subprocess.run([sys.executable, "-c", PROGRAM], env={**os.environ, **environment}, check=True, timeout=30)

    assert api.wait_answer(1) == expected
    api.close()


def test_sandbox_works_where_the_native_client_is_missing(tmp_path: Path) -> None:
    runtime = tmp_path / "runtime"
    runtime.mkdir()
    for path in runtime_directory().iterdir():
        if not path.name.startswith("runtime_client"):
            (runtime / path.name).symlink_to(path)
    task = tmp_path / "task"
    task.mkdir()
    (task / "app.py").write_text(
        "import runtime_client\ndef handler(event, context):\n    return [event, runtime_client.__file__]\n"
    )
    place = Place(task, tmp_path / "opt", runtime, tmp_path / "scratch", tmp_path / "clock", "http://127.0.0.1:1")
    sandbox = Sandbox(FunctionSpec("f", "arn:f", "app.handler", "python3.13", 256, 5, "/aws/lambda/f", {}), place)

    outcomes = [sandbox.invoke(b'"one"'), sandbox.invoke(b'"two"')]
    sandbox.kill()

    assert [json.loads(outcome.payload) for outcome in outcomes] == [["one", str(CLIENT)], ["two", str(CLIENT)]]


def test_import_that_fails_is_the_answer_to_the_first_event(tmp_path: Path) -> None:
    task = tmp_path / "task"
    task.mkdir()
    (task / "app.py").write_text("import not_in_the_layer\n")
    place = Place(
        task, tmp_path / "opt", runtime_directory(), tmp_path / "scratch", tmp_path / "clock", "http://127.0.0.1:1"
    )
    sandbox = Sandbox(FunctionSpec("f", "arn:f", "app.handler", "python3.13", 256, 5, "/aws/lambda/f", {}), place)

    outcome = sandbox.invoke(b"{}")
    sandbox.kill()

    assert outcome.error_type == "Runtime.ImportModuleError"
    assert "not_in_the_layer" in json.loads(outcome.payload)["errorMessage"]
