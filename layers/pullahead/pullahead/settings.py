"""The environment, read once into typed settings. Which names there are is decided by template.yaml."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from pullahead.errors import ConfigError


class Settings(NamedTuple):
    """What a process was told by its environment; a function is told only what it needs."""

    values: Mapping[str, str]

    @property
    def rules_path(self) -> Path:
        """Where the rules layer is mounted."""
        return Path(self._require("RULES_PATH"))

    @property
    def records_table(self) -> str:
        """The DynamoDB table of records."""
        return self._require("RECORDS_TABLE")

    @property
    def plans_bucket(self) -> str:
        """The S3 bucket of plans."""
        return self._require("PLANS_BUCKET")

    @property
    def checks_queue_url(self) -> str:
        """The SQS queue of checks."""
        return self._require("CHECKS_QUEUE_URL")

    @property
    def refresh_state_machine_arn(self) -> str:
        """The state machine that refreshes."""
        return self._require("REFRESH_STATE_MACHINE_ARN")

    @property
    def alerts_topic_arn(self) -> str:
        """The SNS topic of alerts."""
        return self._require("ALERTS_TOPIC_ARN")

    def _require(self, name: str) -> str:
        value = self.values.get(name)
        if not value:
            raise ConfigError(f"the environment variable {name} is not set; template.yaml sets it for each function")
        return value
