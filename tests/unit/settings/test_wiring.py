"""How the application is put together: nothing is made, and nothing asked for, before it is needed."""

from pathlib import Path

import pytest

from pullahead.errors import ConfigError
from pullahead.settings import Settings
from pullahead.wiring import Application


def test_function_that_is_told_nothing_fails_only_when_it_needs_something() -> None:
    app = Application(Settings({}))
    with pytest.raises(ConfigError, match="RULES_PATH"):
        app.schedule_checks()


@pytest.mark.parametrize("content", [None, b"\xff\xfe", b"version: 2", b""])
def test_rules_that_cannot_be_read_are_a_matter_of_configuration(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "rules.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"rules\.yaml"):
        Application(Settings({"RULES_PATH": str(path)})).schedule_checks()
