"""The environment as typed settings. template.yaml sets the variables of each function."""

import re
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

from pullahead.errors import ConfigError
from pullahead.rules.sources.findings import PullRights

OWN_RULES, OWN_RULES_FOLDER = "my-rules.yaml", "my-rules"


def own_rules_or(example: Path) -> Path:
    """Return the user's own rules file if there is one beside the example, or the folder of them, else the example.

    Git tracks the example and ignores the user's files, so that an upgrade never conflicts with them. Raises
    ConfigError for a file and a folder.
    """
    own, folder = example.with_name(OWN_RULES), example.with_name(OWN_RULES_FOLDER)
    if own.is_file() and folder.is_dir():
        raise ConfigError(f"there are both {own} and {folder}/. Move the file into the folder, or remove one of them.")
    if folder.is_dir():
        return folder
    return own if own.is_file() else example


class Settings(NamedTuple):
    """The settings in an environment. A function has only those that it needs."""

    values: Mapping[str, str]

    @property
    def rules_path(self) -> Path:
        """The rules file in the rules layer: the user's own if there is one, else the example."""
        return own_rules_or(Path(self._require("RULES_PATH")))

    @property
    def rules_uri(self) -> str:
        """The address of an external rules file, s3://BUCKET/KEY or ssm:/NAME; "" to use the rules layer."""
        return self._optional("RULES_URI")

    @property
    def trust_root_uri(self) -> str:
        """The address of a trust root, s3://BUCKET/KEY; "" to use the one that the layer has."""
        return self._optional("TRUST_ROOT_URI")

    @property
    def target_repositories(self) -> tuple[str, ...]:
        """The patterns of repositories that may be created and written."""
        return (self._require("TARGET_REPOSITORIES"),)

    @property
    def pull_through_cache_repositories(self) -> tuple[str, ...]:
        """The patterns of repositories that ECR created and Pullahead may write."""
        return self._listed("PULL_THROUGH_CACHE_REPOSITORIES")

    @property
    def pull_rights(self) -> PullRights:
        """What the functions' roles may pull from, besides what needs no permission of AWS."""
        return PullRights(
            self._optional("ACCOUNT_ID"), self._listed("UPSTREAM_REPOSITORIES"), self._listed("UPSTREAM_ROLES")
        )

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
    def source_queue_url(self) -> str:
        """The SQS queue from which a function gets its messages."""
        return self._require("SOURCE_QUEUE_URL")

    @property
    def dead_letter_queue_url(self) -> str:
        """The dead-letter queue of a function's queue."""
        return self._require("DEAD_LETTER_QUEUE_URL")

    @property
    def max_receive_count(self) -> int:
        """After how many receives a message that fails is sent to the dead-letter queue."""
        return self._require_number("MAX_RECEIVE_COUNT")

    @property
    def webhook_secret(self) -> str:
        """The name or ARN of the secret that authenticates webhooks."""
        return self._require("WEBHOOK_SECRET")

    @property
    def refresh_state_machine_arn(self) -> str:
        """The state machine of refreshes."""
        return self._require("REFRESH_STATE_MACHINE_ARN")

    @property
    def region(self) -> str:
        """The Region of the stack, by the ARN of its state machine."""
        return self.refresh_state_machine_arn.split(":")[3]

    @property
    def account(self) -> str:
        """The account of the stack."""
        return self.refresh_state_machine_arn.split(":")[4]

    @property
    def max_concurrent_refreshes(self) -> int:
        """How many refreshes may run at once."""
        return self._require_number("MAX_CONCURRENT_REFRESHES")

    @property
    def expire_untagged_days(self) -> int:
        """After how many days untagged images of new repositories expire; 0 for never."""
        text = self._optional("EXPIRE_UNTAGGED_DAYS") or "0"
        if not text.isdecimal():
            raise ConfigError(f"the environment variable EXPIRE_UNTAGGED_DAYS is {text!r}; it must be a number")
        return int(text)

    @property
    def alerts_topic_arn(self) -> str:
        """The SNS topic of alerts."""
        return self._require("ALERTS_TOPIC_ARN")

    @property
    def own_roles(self) -> frozenset[str]:
        """Pullahead's own roles that read manifests from ECR; their pulls are no demands."""
        return frozenset(filter(None, self._optional("OWN_ROLES").split(",")))

    @property
    def chat_alerts_topic_arn(self) -> str:
        """The SNS topic of alerts in the format of chat applications."""
        return self._require("CHAT_ALERTS_TOPIC_ARN")

    @property
    def silence_after(self) -> timedelta:
        """How long no checks may be queued before an alert is sent: half an hour at least."""
        return max(timedelta(minutes=30), timedelta(seconds=self._require_number("SILENCE_SECONDS")))

    @property
    def upstream_patience_seconds(self) -> float:
        """How long a request waits for a registry's limit; one that must wait longer is deferred, as waiting costs."""
        return self._number("UPSTREAM_PATIENCE_SECONDS", 10.0)

    @property
    def upstream_timeout_seconds(self) -> float:
        """How long a request to a registry may take, all tries and redirects together, but not the body of a blob."""
        return self._number("UPSTREAM_TIMEOUT_SECONDS", 120.0)

    @property
    def shares_rates(self) -> bool:
        """Whether the rates of registries are shared with other processes, by the table of records."""
        return self._optional("SHARE_RATES") == "on"

    @property
    def runtime_api(self) -> str:
        """The host and port of the Lambda runtime API, to which no request may be sent; "" outside of Lambda."""
        return self.values.get("AWS_LAMBDA_RUNTIME_API", "")

    def _optional(self, name: str) -> str:
        return self.values.get(name, "")

    def _listed(self, name: str) -> tuple[str, ...]:
        return tuple(each.strip() for each in self._optional(name).split(",") if each.strip())

    def _number(self, name: str, default: float) -> float:
        text = self._optional(name)
        if not text:
            return default
        if re.fullmatch(r"[0-9]{1,4}(\.[0-9]{1,3})?", text) is None:
            raise ConfigError(f"the environment variable {name} is {text!r}; it must be a number of seconds")
        return float(text)

    def _require_number(self, name: str) -> int:
        text = self._require(name)
        if not text.isdecimal() or int(text) < 1:
            raise ConfigError(f"the environment variable {name} is {text!r}; it must be a number of 1 or more")
        return int(text)

    def _require(self, name: str) -> str:
        value = self.values.get(name)
        if not value:
            raise ConfigError(f"the environment variable {name} is not set; template.yaml sets it for each function")
        return value
