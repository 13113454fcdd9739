"""The deployed stack as the CLI finds it: its outputs, and one line for every error of AWS."""

from collections.abc import Iterator

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError, NoRegionError

from pullahead.cli.stack import DeployedStack, told_plainly
from pullahead.cli.stack_arguments import Place
from pullahead.errors import ConfigError, PullaheadError, StorageError
from tests.contract.local_services import client, moto_server

TEMPLATE = (
    '{"Resources": {"Topic": {"Type": "AWS::SNS::Topic"}}, "Outputs": {"RecordsTableName": {"Value": "records"}}}'
)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with moto_server() as address:
        client(address, "cloudformation").create_stack(StackName="older", TemplateBody=TEMPLATE)
        yield address


@pytest.fixture(autouse=True)
def _environment(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_ENDPOINT_URL", url)
    monkeypatch.setenv("AWS_REGION", "eu-west-1")


def test_missing_stack_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match="there is no stack pullahead in this account and Region"), told_plainly():
        DeployedStack(Place("pullahead", None)).records.load_heartbeat()


def test_missing_output_is_a_config_error_that_names_it() -> None:
    with pytest.raises(ConfigError, match="the stack older has no output ChecksQueueUrl"), told_plainly():
        DeployedStack(Place("older", None)).queue.send([])


def test_table_option_needs_no_stack_and_has_no_queue() -> None:
    with pytest.raises(ConfigError, match="needs the output ChecksQueueUrl"), told_plainly():
        DeployedStack(Place("none", "records")).queue.send([])
    with pytest.raises(ConfigError, match="AWS answers BatchGetItem with ResourceNotFoundException"), told_plainly():
        DeployedStack(Place("none", "records")).records.load_heartbeat()


def refusal(operation: str, code: str = "AccessDeniedException") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "User: arn is not authorized"}}, operation)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (refusal("Scan"), "you need the permission dynamodb:Scan"),
        (refusal("SendMessageBatch", "AccessDenied"), "you need the permission sqs:SendMessage"),
        (NoCredentialsError(), "there are no AWS credentials"),
        (NoRegionError(), "no AWS Region is set"),
        (EndpointConnectionError(endpoint_url="https://a.example"), "AWS cannot be asked: Could not connect"),
    ],
)
@pytest.mark.parametrize("wrapped", [False, True])
def test_error_of_aws_is_one_line(error: Exception, text: str, *, wrapped: bool) -> None:
    def fail() -> None:
        if wrapped:
            raise StorageError("read of all records failed") from error
        raise error

    with pytest.raises(ConfigError, match=text) as raised, told_plainly():
        fail()
    assert "\n" not in str(raised.value)


def test_error_of_pullahead_is_not_changed() -> None:
    with pytest.raises(PullaheadError, match="goes on after") as raised, told_plainly():
        raise StorageError("the table goes on after 2000 pages")
    assert isinstance(raised.value, StorageError)
