"""Links into the AWS console. An unknown partition gets no links rather than wrong ones."""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

_CONSOLES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "aws": "console.aws.amazon.com",
        "aws-cn": "console.amazonaws.cn",
        "aws-us-gov": "console.amazonaws-us-gov.com",
    }
)
_ARN: Final = re.compile(r"arn:([a-z-]+):[a-z0-9-]+:([a-z0-9-]+):([0-9]{12}):.+")
_REPOSITORY: Final = re.compile(r"[a-z0-9._/-]+")
_EXECUTION: Final = re.compile(r"arn:[A-Za-z0-9:_-]+")


class Console(NamedTuple):
    """The console of one account and Region."""

    host: str
    region: str
    account: str

    def repository(self, name: str) -> str | None:
        """Link to a repository in ECR; None if the name is invalid."""
        if not _REPOSITORY.fullmatch(name):
            return None
        return f"https://{self.host}/ecr/repositories/private/{self.account}/{name}?region={self.region}"

    def execution(self, arn: str | None) -> str | None:
        """Link to an execution in Step Functions; None if the ARN is invalid."""
        if arn is None or not _EXECUTION.fullmatch(arn):
            return None
        return f"https://{self.host}/states/home?region={self.region}#/v2/executions/details/{arn}"


def console_of(arn: str) -> Console | None:
    """Find the console of the account and Region in an ARN; None if it is unknown."""
    match = _ARN.fullmatch(arn)
    if match is None or match[1] not in _CONSOLES:
        return None
    return Console(f"{match[2]}.{_CONSOLES[match[1]]}", match[2], match[3])
