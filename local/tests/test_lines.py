"""What `make local` prints of what happens: one readable line each, without metrics and without secrets."""

import json
from typing import Any

import pytest

from local.aws.pool import Invocation
from local.lines import MAX_CHARACTERS, alert_line, event_line, function_name, invocation_lines
from tests.fakes.samples import digest

POWERTOOLS = {
    "level": "INFO",
    "location": "handle:26",
    "message": "checks queued",
    "timestamp": "2026-11-30 05:29:00,055+0000",
    "service": "pullahead",
    "cold_start": True,
    "function_name": "pullahead-ScheduleChecksFunction-5M32SYSF1H0A",
    "function_memory_size": "256",
    "function_arn": "arn:aws:lambda:eu-west-1:123456789012:function:x",
    "function_request_id": "81e337f6",
    "xray_trace_id": "1-6b0d0ac1",
}
METRICS = {"_aws": {"Timestamp": 1, "CloudWatchMetrics": []}, "Checks": [1.0]}


def invocation(*entries: Any, outcome: str = "Succeeded") -> Invocation:
    logs = "".join(f"{entry if isinstance(entry, str) else json.dumps(entry)}\n" for entry in entries)
    name = "pullahead-ScheduleChecksFunction-5M32SYSF1H0A"
    return Invocation(name, {}, outcome, 1.25, logs, "id", cold=True, process_id=1, max_memory_megabytes=80, payload={})


def entry_line(**fields: Any) -> str:
    (line,) = invocation_lines(invocation({**POWERTOOLS, **fields}))
    return line


@pytest.mark.parametrize(
    ("physical", "name"),
    [
        ("pullahead-ScheduleChecksFunction-5M32SYSF1H0A", "schedule_checks"),
        ("my-stack-CopyBlobsFunction-PSMG17EWQEBV", "copy_blobs"),
        ("somebody-elses", "somebody-elses"),
    ],
)
def test_function_is_named_as_its_folder_is(physical: str, name: str) -> None:
    assert function_name(physical) == name


def test_entry_is_its_message_and_what_the_function_added() -> None:
    assert entry_line(mirrors=4, due=0, problems=[], error=None, deferred=False) == (
        "schedule_checks  checks queued mirrors=4 due=0"
    )
    assert entry_line(mirrors=["a:1", "b:2"], changed=True).endswith("mirrors=a:1, b:2 changed=true")


def test_metrics_and_runs_that_went_well_add_no_line() -> None:
    assert list(invocation_lines(invocation(METRICS))) == []


def test_error_names_its_level_and_its_cause() -> None:
    trace = "Traceback (most recent call last):\n  File x\npullahead.errors.StorageError: read of records failed"
    line = entry_line(level="ERROR", message="check failed", exception=trace, exception_name="StorageError")
    assert line == "schedule_checks  ERROR: check failed pullahead.errors.StorageError: read of records failed"


def test_failed_run_and_plain_output_are_shown() -> None:
    lines = list(invocation_lines(invocation("Unable to import module 'app'", outcome="Sandbox.Timedout")))
    assert lines == [
        "schedule_checks  Unable to import module 'app'",
        "schedule_checks  FAILED with Sandbox.Timedout after 1.2 s",
    ]


def test_stack_of_an_error_is_not_shown() -> None:
    logs = (
        "[ERROR] StorageError: read failed",
        "Traceback (most recent call last):",
        '  File "/app.py", line 20',
        "    f()",
        '\N{NO-BREAK SPACE}\N{NO-BREAK SPACE}File "/app.py", line 21',
    )
    assert list(invocation_lines(invocation(*logs, outcome="StorageError"))) == [
        "schedule_checks  [ERROR] StorageError: read failed",
        "schedule_checks  FAILED with StorageError after 1.2 s",
    ]


def test_outcome_event_says_what_happened_to_which_mirror() -> None:
    detail = {
        "mirror": "mirror/app:1.0",
        "reason": "first-copy",
        "digest": digest("app"),
        "bytes-copied": 2_097_152,
        "lag-seconds": 2.44,
    }
    line = event_line({"DetailType": "Mirror Refreshed", "Source": "pullahead", "Detail": json.dumps(detail)})
    assert line.startswith("EVENT            Mirror Refreshed: mirror/app:1.0: first-copy, ECR serves ")
    assert line.endswith(", 2.0 MiB copied, 2.4 s after it became stale")


@pytest.mark.parametrize("detail", ["", "no JSON", "[]", '{"digest": 5, "mirror": null}'])
def test_event_of_somebody_else_is_a_line_all_the_same(detail: str) -> None:
    assert event_line({"DetailType": "Order Placed", "Detail": detail}).startswith("EVENT            Order Placed")


def test_line_has_no_secret_and_no_control_character_and_an_end() -> None:
    url = "https://user:password@registry.example.com/v2/?X-Amz-Signature=abc#x"
    line = alert_line(f"reading {url} failed\n\x1b[31m{'x' * 5000}")
    assert "password" not in line
    assert "X-Amz" not in line
    assert "https://registry.example.com/v2/" in line
    assert line.isprintable()
    assert len(line) <= MAX_CHARACTERS + len("ALERT            ")
