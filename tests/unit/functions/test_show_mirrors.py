"""The widget's function without Lambda: a sample event in, HTML or documentation out."""

import json
from datetime import timedelta
from types import SimpleNamespace
from typing import cast

import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext

from functions.show_mirrors import app as show_mirrors
from pullahead.errors import StorageError
from pullahead.mirrors.record import State
from tests.architecture.source import ROOT
from tests.fakes.application import InMemoryService
from tests.fakes.samples import rules
from tests.unit.dashboard.landscape import ENDPOINT, fresh, troubled

CONTEXT = cast("LambdaContext", SimpleNamespace(invoked_function_arn=ENDPOINT))


@pytest.fixture
def service() -> InMemoryService:
    made = InMemoryService(rules())
    for record in (fresh("mirror/app:1"), troubled(fresh("mirror/app:2"), State.BLOCKED, timedelta(1), "why")):
        made.records.stored[record.key] = record
    return made


def handled(sample: str, service: InMemoryService) -> str:
    event = json.loads((ROOT / f"events/show_mirrors.{sample}.json").read_text(encoding="utf-8"))
    return show_mirrors.handle(event, CONTEXT, service.app)


def test_samples_are_shown(service: InMemoryService) -> None:
    assert "2 mirrors" in handled("first", service)
    filtered = handled("filter", service)
    assert "1 of 2 mirrors" in filtered
    assert f'endpoint="{ENDPOINT}"' in filtered
    assert "No mirror matches" in handled("next_page", service)
    assert handled("describe", service).startswith("## Pullahead")


def test_storage_error_is_logged(service: InMemoryService, caplog: pytest.LogCaptureFixture) -> None:
    service.script.fail("scan", StorageError("throttled"))
    assert "throttled" in handled("first", service)
    assert [record.levelname for record in caplog.records] == ["ERROR", "INFO"]
