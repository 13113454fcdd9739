"""One scripted registry for each test."""

from collections.abc import Iterator

import pytest

from tests.unit.registry.push.harness import ScriptedRegistry


@pytest.fixture
def registry() -> Iterator[ScriptedRegistry]:
    with ScriptedRegistry() as running:
        yield running
