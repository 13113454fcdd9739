"""Does what its event says, so that tests need not deploy a function for each behaviour."""

import importlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import boto3


class UpstreamDownError(Exception):
    pass


class BrokenForeverError(Exception):
    pass


def handler(event: dict[str, Any], context: Any) -> Any:
    return globals()[f"do_{event['do']}"](event, context)


def do_echo(event: dict[str, Any], context: Any) -> Any:
    print("a line of log")
    return event


def do_environment(event: dict[str, Any], context: Any) -> Any:
    return {
        "pid": os.getpid(),
        "path": sys.path,
        "layer": importlib.import_module("shared").SHARED,
        "rules": Path(os.environ["RULES_FILE"]).read_text(encoding="utf-8").strip(),
        "function": context.function_name,
        "remaining": context.get_remaining_time_in_millis(),
        "endpoint": os.environ["AWS_ENDPOINT_URL"],
    }


def do_import(event: dict[str, Any], context: Any) -> Any:
    return importlib.import_module(event["name"]).__name__


def do_sleep(event: dict[str, Any], context: Any) -> Any:
    time.sleep(event["seconds"])
    return "slept"


def do_report_and_sleep(event: dict[str, Any], context: Any) -> Any:
    """Leave a mark that the process has begun, then take long."""
    do_report(event, context)
    return do_sleep(event, context)


def do_crash(event: dict[str, Any], context: Any) -> Any:
    os._exit(7)


def do_eat(event: dict[str, Any], context: Any) -> Any:
    return len(b"x" * (event["megabytes"] * 1024 * 1024))


def do_report(event: dict[str, Any], context: Any) -> Any:
    """Leave a mark that a test can read."""
    boto3.client("sqs").send_message(QueueUrl=os.environ["SEEN_URL"], MessageBody=event["say"])


def do_fail(event: dict[str, Any], context: Any) -> Any:
    raise {"down": UpstreamDownError, "broken": BrokenForeverError}[event["how"]]("no")


def do_fail_until(event: dict[str, Any], context: Any) -> Any:
    """Fail until a counter file, kept in the sandbox's own scratch directory, has reached a number."""
    counter = Path(os.environ["TMPDIR"]) / event["counter"]
    count = int(counter.read_text(encoding="ascii")) + 1 if counter.exists() else 1
    counter.write_text(str(count), encoding="ascii")
    if count < event["times"]:
        raise UpstreamDownError(f"attempt {count}")
    return {"attempts": count}


def do_step(event: dict[str, Any], context: Any) -> Any:
    """Work on one unit a little, as a copy that does not fit into one invocation."""
    done = event["unit"].get("rounds", 0) + 1
    return {**event["unit"], "rounds": done, "done": done >= event["unit"]["wanted"]}


def do_large(event: dict[str, Any], context: Any) -> Any:
    return json.dumps("x" * event["bytes"])
