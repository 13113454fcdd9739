"""Starting, stopping and starting again: nothing is kept, nothing is left behind."""

import os
import time
from pathlib import Path

import pytest
import requests

from local.aws.server import LocalAws
from local.deploy import deploy
from local.tests.aws.stack import TEMPLATES, WholeStack
from tests.contract.local_services import client, moto_server
from tests.polling import until


def test_second_local_aws_in_one_process_is_refused(tmp_path: Path) -> None:
    with LocalAws(tmp_path / "one"), pytest.raises(RuntimeError, match="one per process"):
        LocalAws(tmp_path / "two").start()


def test_new_one_holds_nothing_of_the_last_and_leaves_no_process(tmp_path: Path) -> None:
    with LocalAws(tmp_path / "one") as aws:
        whole = WholeStack(aws, deploy(aws, TEMPLATES / "whole.yaml"))
        process = whole.ask(do="environment").payload["pid"]
        url = aws.url
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)
    with pytest.raises(requests.ConnectionError):
        requests.get(url, timeout=1)

    with LocalAws(tmp_path / "two") as aws:
        assert aws.client("lambda").list_functions()["Functions"] == []
        assert aws.client("sqs").list_queues().get("QueueUrls", []) == []
        assert aws.client("stepfunctions").list_state_machines()["stateMachines"] == []
        assert aws.invocations == []


def test_moto_serves_in_the_same_process_afterwards(tmp_path: Path) -> None:
    """Without the rules that were made here, whose targets it does not know."""
    with LocalAws(tmp_path / "aws") as aws:
        deploy(aws, TEMPLATES / "whole.yaml")
    push = {"Source": "aws.ecr", "DetailType": "ECR Image Action", "Detail": '{"image-tag": "1.0"}'}
    with moto_server() as url:
        assert client(url, "events").put_events(Entries=[push])["FailedEntryCount"] == 0
        assert client(url, "events").list_rules()["Rules"] == []


def test_stopping_does_not_wait_for_a_function(tmp_path: Path) -> None:
    with LocalAws(tmp_path / "one") as aws:
        whole = WholeStack(aws, deploy(aws, TEMPLATES / "whole.yaml"))
        whole.tell(do="report_and_sleep", say="begun", seconds=2)
        until(lambda: bool(whole.taken("Seen")), "the function's process has begun")
        stopping = time.monotonic()
    assert time.monotonic() - stopping < 2
    assert [run.outcome for run in whole.runs("Worker")] == ["Runtime.ExitError"]


def test_redelivery_can_be_made_prompt(tmp_path: Path) -> None:
    with LocalAws(tmp_path / "aws", redelivery_seconds=0) as aws:
        whole = WholeStack(aws, deploy(aws, TEMPLATES / "whole.yaml"))
        whole.send("Jobs", "bad")
        aws.wait_idle(20)

        assert whole.taken("JobsDead") == ["bad"]
        assert aws.clock.offset.total_seconds() == 0
