"""Finding the deployed stack: its outputs, and one line for each error of AWS."""

from collections.abc import Iterator

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError, NoRegionError

from pullahead.cli.stack import DeployedStack, StackLocation, plain_aws_errors
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


def test_missing_stack_is_refused() -> None:
    with pytest.raises(ConfigError, match="stack pullahead not found in this account and Region"), plain_aws_errors():
        DeployedStack(StackLocation("pullahead", None)).records.load_heartbeat()


def test_stack_without_an_output_is_refused() -> None:
    with pytest.raises(ConfigError, match="stack older has no output ChecksQueueUrl"), plain_aws_errors():
        DeployedStack(StackLocation("older", None)).queue.send([])


def test_table_alone_needs_no_stack_and_has_no_queue() -> None:
    with pytest.raises(ConfigError, match="needs the stack's output ChecksQueueUrl"), plain_aws_errors():
        DeployedStack(StackLocation("none", "records")).queue.send([])
    what = r"BatchGetItem failed with ResourceNotFoundException: .*; check --table, --stack, AWS_PROFILE and AWS_REGION"
    with pytest.raises(ConfigError, match=what), plain_aws_errors():
        DeployedStack(StackLocation("none", "records")).records.load_heartbeat()


def refusal(operation: str, code: str = "AccessDeniedException") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "User: arn is not authorized"}}, operation)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (refusal("Scan"), "the permission dynamodb:Scan is missing"),
        (refusal("SendMessageBatch", "AccessDenied"), "the permission sqs:SendMessage is missing"),
        (NoCredentialsError(), "no AWS credentials found"),
        (NoRegionError(), "no AWS Region is configured"),
        (EndpointConnectionError(endpoint_url="https://a.example"), "the request to AWS failed: Could not connect"),
    ],
)
@pytest.mark.parametrize("wrapped", [False, True])
def test_error_of_aws_is_one_line_that_names_the_permission(error: Exception, text: str, *, wrapped: bool) -> None:
    def fail() -> None:
        if wrapped:
            raise StorageError("read of all records failed") from error
        raise error

    with pytest.raises(ConfigError, match=text) as raised, plain_aws_errors():
        fail()
    assert "\n" not in str(raised.value)


def test_error_of_our_own_is_not_changed() -> None:
    with pytest.raises(PullaheadError, match="goes on after") as raised, plain_aws_errors():
        raise StorageError("the table goes on after 2000 pages")
    assert isinstance(raised.value, StorageError)
