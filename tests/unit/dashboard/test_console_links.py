"""Links into the right console, or none."""

import pytest

from pullahead.dashboard.console_links import console_of
from tests.unit.dashboard.landscape import ENDPOINT, EXECUTION


@pytest.mark.parametrize(
    ("arn", "begins"),
    [
        (ENDPOINT, "https://eu-west-1.console.aws.amazon.com/"),
        (f"{ENDPOINT}:live", "https://eu-west-1.console.aws.amazon.com/"),
        ("arn:aws-cn:lambda:cn-north-1:123456789012:function:f", "https://cn-north-1.console.amazonaws.cn/"),
        (
            "arn:aws-us-gov:lambda:us-gov-west-1:123456789012:function:f",
            "https://us-gov-west-1.console.amazonaws-us-gov.com/",
        ),
    ],
)
def test_console_depends_on_partition_and_region(arn: str, begins: str) -> None:
    console = console_of(arn)
    assert console is not None
    region = arn.split(":")[3]
    assert console.repository("mirror/app") == (
        f"{begins}ecr/repositories/private/123456789012/mirror/app?region={region}"
    )
    assert console.execution(EXECUTION) == (f"{begins}states/home?region={region}#/v2/executions/details/{EXECUTION}")


@pytest.mark.parametrize(
    "arn", ["", "arn", "arn:aws-iso:lambda:us-iso-east-1:123456789012:function:f", "arn:aws:lambda:a/b:1:function:f"]
)
def test_unknown_partition_has_no_console(arn: str) -> None:
    assert console_of(arn) is None


@pytest.mark.parametrize("name", ["", "a b", 'a"b', "javascript:x", "../é"])
def test_invalid_name_has_no_link(name: str) -> None:
    console = console_of(ENDPOINT)
    assert console is not None
    assert console.repository(name) is None
    assert console.execution(name) is None
    assert console.execution(None) is None
