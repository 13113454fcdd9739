"""Which AWS operations the functions called, as the server saw them. Knows no service's meaning."""

import base64
import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

_RECORDING = "moto_recording"  # moto's name for it, in the working directory


@dataclass(frozen=True, order=True)
class AwsCall:
    """One request, as moto's recorder kept it. Calls of one operation are equal, whatever they ask for."""

    service: str
    operation: str
    parameters: dict[str, Any] = field(default_factory=dict, compare=False)


@contextlib.contextmanager
def recorded_calls(url: str, folder: Path) -> Iterator[list[AwsCall]]:
    """Record every request of AWS JSON services, in order; the list is filled in the end."""
    calls: list[AwsCall] = []
    with contextlib.chdir(folder):
        _control(url, "start-recording")
        try:
            yield calls
        finally:
            _control(url, "stop-recording")
        calls += [_call(json.loads(line)) for line in Path(_RECORDING).read_text().splitlines()]


def _control(url: str, verb: str) -> None:
    requests.post(f"{url}/moto-api/recorder/{verb}", timeout=10).raise_for_status()


def _call(entry: dict[str, Any]) -> AwsCall:
    headers = {name.lower(): value for name, value in entry["headers"].items()}
    target = headers.get("x-amz-target")
    if target is None:  # S3, SNS and others that do not speak AWS JSON
        return AwsCall("other", f"{entry['method']} {entry['url']}")
    service, _, operation = target.partition(".")
    return AwsCall(service.partition("_")[0], operation, json.loads(base64.b64decode(entry["body"])))
