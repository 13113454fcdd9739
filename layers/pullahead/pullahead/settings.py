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
    def rules_uri(self) -> str:
        """Where people keep the rules, as s3://BUCKET/KEY or ssm:/NAME; "" for the rules layer."""
        return self._optional("RULES_URI")

    @property
    def target_repositories(self) -> tuple[str, ...]:
        """The patterns of repositories that may be created and written."""
        return (self._require("TARGET_REPOSITORIES"),)

    @property
    def pull_through_cache_repositories(self) -> tuple[str, ...]:
        """The patterns of repositories that may be written though ECR made them."""
        listed = self._optional("PULL_THROUGH_CACHE_REPOSITORIES").split(",")
        return tuple(pattern.strip() for pattern in listed if pattern.strip())

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

    @property
    def runtime_api(self) -> str:
        """The host and port of the Lambda runtime API, which nobody but the runtime may ask; "" outside of Lambda."""
        return self.values.get("AWS_LAMBDA_RUNTIME_API", "")

    def _optional(self, name: str) -> str:
        return self.values.get(name, "")

    def _require(self, name: str) -> str:
        value = self.values.get(name)
        if not value:
            raise ConfigError(f"the environment variable {name} is not set; template.yaml sets it for each function")
        return value
