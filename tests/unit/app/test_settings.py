"""Settings from the environment: a missing one is an error, and only when it is needed."""

from pathlib import Path

import pytest

from pullahead.errors import ConfigError
from pullahead.settings import Settings

NAMES = {
    "records_table": "RECORDS_TABLE",
    "plans_bucket": "PLANS_BUCKET",
    "checks_queue_url": "CHECKS_QUEUE_URL",
    "refresh_state_machine_arn": "REFRESH_STATE_MACHINE_ARN",
    "alerts_topic_arn": "ALERTS_TOPIC_ARN",
}


@pytest.mark.parametrize(("attribute", "name"), NAMES.items())
def test_setting_is_read_from_the_environment(attribute: str, name: str) -> None:
    assert getattr(Settings({name: "value"}), attribute) == "value"


@pytest.mark.parametrize(("attribute", "name"), [*NAMES.items(), ("rules_path", "RULES_PATH")])
@pytest.mark.parametrize("empty", [True, False])
def test_missing_or_empty_setting_is_named_in_the_error(attribute: str, name: str, empty: bool) -> None:
    settings = Settings({name: ""} if empty else {"OTHER": "value"})
    with pytest.raises(ConfigError, match=name):
        getattr(settings, attribute)


def test_rules_path_is_a_path() -> None:
    assert Settings({"RULES_PATH": "/opt/rules/rules.yaml"}).rules_path == Path("/opt/rules/rules.yaml")
