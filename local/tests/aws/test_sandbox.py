"""Functions run as in Lambda: in a process of their own, with nothing but their code, their layers and the runtime."""

import threading

import pytest

from local.tests.aws.stack import WholeStack


def test_function_sees_code_layer_and_runtime_as_in_lambda(whole: WholeStack) -> None:
    environment = whole.ask(do="environment").payload

    assert environment["layer"] == "from the layer"
    assert environment["rules"] == "the rules"  # RULES_FILE=/opt/rules/rules.txt
    assert environment["function"] == whole.stack.resources["Worker"]
    assert 0 < environment["remaining"] <= 3000
    assert environment["endpoint"] == whole.aws.url


@pytest.mark.parametrize("name", ["moto", "msgspec", "pytest", "local"])
def test_dependency_missing_from_the_layer_fails_here(whole: WholeStack, name: str) -> None:
    __import__(name)  # the developer's environment has it

    answer = whole.ask(do="import", name=name)

    assert answer.error == "Unhandled"
    assert answer.payload["errorType"] == "ModuleNotFoundError"


def test_what_the_lambda_runtime_brings_is_importable(whole: WholeStack) -> None:
    assert whole.ask(do="import", name="boto3").payload == "boto3"


def test_second_call_finds_the_process_warm(whole: WholeStack) -> None:
    first, second = whole.ask(do="environment").payload, whole.ask(do="environment").payload

    assert first["pid"] == second["pid"]
    assert not whole.runs("Worker")[-1].cold


def test_calls_at_the_same_time_run_in_processes_of_their_own(whole: WholeStack) -> None:
    before = len(whole.runs("Worker"))
    threads = [threading.Thread(target=whole.ask, kwargs={"do": "sleep", "seconds": 0.3}) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    runs = whole.runs("Worker")[before:]
    assert len({run.process_id for run in runs}) == 2


def test_handler_that_raises_keeps_its_process_and_names_its_error(whole: WholeStack) -> None:
    first = whole.ask(do="environment").payload
    answer = whole.ask(do="fail", how="down")

    assert answer.error == "Unhandled"
    assert answer.payload["errorType"] == "UpstreamDownError"
    assert whole.ask(do="environment").payload["pid"] == first["pid"]
    assert "UpstreamDownError" in whole.runs("Worker")[-2].logs


def test_timeout_kills_the_process(whole: WholeStack) -> None:
    answer = whole.ask(do="sleep", seconds=60)

    assert answer.payload["errorType"] == "Sandbox.Timedout"
    assert "timed out after 3.00 seconds" in answer.payload["errorMessage"]
    run = whole.runs("Worker")[-1]
    assert 3 <= run.duration_seconds < 6
    assert whole.ask(do="environment").payload["pid"] != run.process_id


def test_process_that_dies_is_an_exit_error(whole: WholeStack) -> None:
    answer = whole.ask(do="crash")

    assert answer.payload["errorType"] == "Runtime.ExitError"
    assert "exit status 7" in answer.payload["errorMessage"]
    assert whole.ask(do="echo").error is None


def test_function_killed_from_outside_is_an_exit_error(whole: WholeStack) -> None:
    killed = threading.Event()

    def kill() -> None:
        while not killed.wait(0.02):
            if whole.aws.kill_function(whole.stack.resources["Worker"]):
                killed.set()

    killer = threading.Thread(target=kill)
    killer.start()
    answer = whole.ask(do="sleep", seconds=2.5)
    killed.set()
    killer.join()

    assert answer.payload["errorType"] == "Runtime.ExitError"
    assert "SIGKILL" in answer.payload["errorMessage"]


def test_more_memory_than_the_function_has_is_an_error(whole: WholeStack) -> None:
    assert whole.ask(do="eat", megabytes=10).error is None

    answer = whole.ask(do="eat", megabytes=300)  # of 256

    assert answer.payload["errorType"] == "Runtime.OutOfMemory"


def test_answer_larger_than_lambda_allows_is_refused(whole: WholeStack) -> None:
    answer = whole.ask(do="large", bytes=6 * 1024 * 1024)

    assert answer.payload["errorType"] == "Function.ResponseSizeTooLarge"


def test_log_lines_belong_to_their_invocation(whole: WholeStack) -> None:
    whole.ask(do="echo")
    whole.ask(do="environment")

    assert [run.logs for run in whole.runs("Worker")[-2:]] == ["a line of log\n", ""]


def test_event_is_answered_at_once_and_tried_three_times(whole: WholeStack) -> None:
    before = len(whole.runs("Worker"))

    whole.tell(do="fail", how="down")
    whole.aws.wait_idle(20)

    assert [run.outcome for run in whole.runs("Worker")[before:]] == ["UpstreamDownError"] * 3


def test_event_that_succeeds_is_not_repeated(whole: WholeStack) -> None:
    whole.tell(do="report", say="once")
    whole.aws.wait_idle(20)

    assert whole.taken("Seen") == ["once"]
