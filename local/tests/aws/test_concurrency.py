"""An account's concurrency limit, met in every way in which a function is invoked."""

from collections.abc import Iterator

import pytest
from botocore.exceptions import ClientError

from local.aws.concurrency import AccountConcurrency, ThrottledError, retry_delays
from local.tests.aws.stack import WholeStack
from tests.polling import until

VISIBILITY_SECONDS = 61  # the template says 60


@pytest.fixture
def full(whole: WholeStack) -> Iterator[AccountConcurrency]:
    """Leave no room in the account."""
    concurrency = whole.aws.concurrency
    concurrency.limit = 0
    yield concurrency
    concurrency.limit = None


def throttled(concurrency: AccountConcurrency) -> int:
    return sum(concurrency.throttles.values())


def test_invocation_beyond_the_limit_is_refused(whole: WholeStack, full: AccountConcurrency) -> None:
    before = throttled(full)
    with pytest.raises(ClientError) as refused:
        whole.ask(do="echo")
    assert refused.value.response["Error"]["Code"] == "TooManyRequestsException"
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 429
    assert throttled(full) > before


def test_asynchronous_event_waits_for_room(whole: WholeStack, full: AccountConcurrency) -> None:
    before = throttled(full)
    whole.tell(do="report", say="late")
    until(lambda: throttled(full) > before, "the event is throttled")
    full.limit = None
    whole.aws.wait_idle(20)
    assert whole.taken("Seen") == ["late"]


def test_throttled_batch_comes_back_after_the_visibility_timeout(whole: WholeStack, full: AccountConcurrency) -> None:
    before = throttled(full)
    whole.send("Jobs", "one")
    whole.aws.wait_idle(20, hidden_ok=True)
    assert throttled(full) > before + 1
    assert whole.taken("Seen") == []
    full.limit = None
    whole.aws.clock.advance(VISIBILITY_SECONDS)
    whole.aws.wait_idle(20)
    assert whole.taken("Seen") == ["one 2"]


def test_throttled_task_fails_with_the_name_that_step_functions_gives_it(
    whole: WholeStack, full: AccountConcurrency
) -> None:
    arn = whole.execution([], {"do": "echo"})
    until(lambda: whole.result(arn)["status"] != "RUNNING", "the execution ends")
    assert whole.result(arn)["error"] == "Lambda.TooManyRequestsException"
    assert throttled(full)


def test_no_more_run_at_once_than_the_limit() -> None:
    concurrency = AccountConcurrency(2)
    with (
        concurrency.invocation("a"),
        concurrency.invocation("a"),
        pytest.raises(ThrottledError),
        concurrency.invocation("b"),
    ):
        raise AssertionError
    with concurrency.invocation("b"):
        assert concurrency.most_at_once == 2
    assert concurrency.throttles == {"b": 1}


def test_delays_double_up_to_the_longest_and_end_with_the_total() -> None:
    assert list(retry_delays(4, 12)) == [1, 2, 4, 4, 1]
