"""What must hold between template.yaml and the tree, and what every resource of a kind must have."""

from collections.abc import Iterator
from typing import Any

from tests.architecture.sam_template import (
    FUNCTION,
    STATE_MACHINE,
    Properties,
    Template,
    directory_of,
    listed,
    named,
    statements,
)
from tests.architecture.source import ROOT

VISIBILITY_FACTOR = 6
"""AWS Lambda Developer Guide, "Using Lambda with Amazon SQS": visibility timeout at least six times the function's."""
RUNTIME = "python3.13"
ARCHITECTURE = "arm64"
QUEUE = "AWS::SQS::Queue"


def function_findings(template: Template) -> Iterator[str]:
    """Find functions without code, on another platform, or whose logs are kept for ever."""
    log_groups = template.resources("AWS::Logs::LogGroup")
    for name, function in template.resources(FUNCTION).items():
        folder = f"functions/{directory_of(name)}"
        if function["CodeUri"].rstrip("/") != folder or not (ROOT / folder / "app.py").is_file():
            yield f"{name}: CodeUri {function['CodeUri']} is not {folder} with an app.py"
        if function.get("Handler") != "app.handler":
            yield f"{name}: Handler {function.get('Handler')} is not app.handler"
        if function.get("Runtime") != RUNTIME or function.get("Architectures") != [ARCHITECTURE]:
            yield f"{name}: does not run on {RUNTIME} and {ARCHITECTURE}"
        group = named(function.get("LoggingConfig", {}).get("LogGroup"))
        if group not in log_groups or "RetentionInDays" not in log_groups[group]:
            yield f"{name}: has no log group with a retention of its own"
        if function.get("LoggingConfig", {}).get("LogFormat") != "Text":
            yield f"{name}: Lambda sets a log level of its own, and drops metrics from WARN on"
        if function["Environment"]["Variables"].get("POWERTOOLS_LOG_LEVEL") != {"Ref": "LogLevel"}:
            yield f"{name}: LogLevel does not reach it"


def folder_findings(template: Template) -> Iterator[str]:
    """Find folders of functions that are never deployed."""
    deployed = {directory_of(name) for name in template.resources(FUNCTION)}
    for path in sorted((ROOT / "functions").glob("*/app.py")):
        if path.parent.name not in deployed:
            yield f"functions/{path.parent.name}: no function of the template runs it"


def queue_findings(template: Template) -> Iterator[str]:
    """Find queues whose messages are retried too early, get lost, or fail as whole batches."""
    queues = template.resources(QUEUE)
    for name, function in template.resources(FUNCTION).items():
        for event in function.get("Events", {}).values():
            if event["Type"] != "SQS":
                continue
            queue_name = named(event["Properties"]["Queue"])
            queue = queues.get(queue_name or "", {})
            needed = VISIBILITY_FACTOR * template.largest(function["Timeout"])
            if template.largest(queue.get("VisibilityTimeout", 30)) < needed:
                yield f"{queue_name}: is visible again before {needed:.0f} s, while {name} may be at it"
            if named(queue.get("RedrivePolicy", {}).get("deadLetterTargetArn")) not in queues:
                yield f"{queue_name}: has no dead-letter queue"
            if event["Properties"].get("FunctionResponseTypes") != ["ReportBatchItemFailures"]:
                yield f"{name}: one bad message of {queue_name} fails its whole batch"


def bucket_findings(template: Template) -> Iterator[str]:
    """Find buckets that are open, in the clear, or grow for ever."""
    for name, bucket in template.resources("AWS::S3::Bucket").items():
        if not _tls_only(template, name):
            yield f"{name}: takes requests without TLS"
        blocked = bucket.get("PublicAccessBlockConfiguration", {})
        if len(blocked) < 4 or not all(value is True for value in blocked.values()):
            yield f"{name}: may be made public"
        if "BucketEncryption" not in bucket:
            yield f"{name}: is not encrypted"
        if not bucket.get("LifecycleConfiguration", {}).get("Rules"):
            yield f"{name}: keeps everything for ever"


def _tls_only(template: Template, bucket: str) -> bool:
    for policy in template.resources("AWS::S3::BucketPolicy").values():
        for statement in statements(policy["PolicyDocument"]):
            resources = listed(statement["Resource"])
            if (
                named(policy["Bucket"]) == bucket
                and statement["Effect"] == "Deny"
                and statement["Principal"] == "*"
                and listed(statement["Action"]) == ["s3:*"]
                and statement.get("Condition") == {"Bool": {"aws:SecureTransport": "false"}}
                and {"Fn::GetAtt": [bucket, "Arn"]} in resources
                and {"Fn::Sub": f"${{{bucket}.Arn}}/*"} in resources
            ):
                return True
    return False


def alarm_findings(template: Template) -> Iterator[str]:
    """Find failures without an alarm."""
    alarms = template.resources("AWS::CloudWatch::Alarm")
    for name, alarm in alarms.items():
        if named(next(iter(alarm.get("AlarmActions", [])), None)) not in template.resources("AWS::SNS::Topic"):
            yield f"{name}: tells no topic"
    single = [alarm for alarm in alarms.values() if "MetricName" in alarm]  # the others add several up
    watched = {(alarm["MetricName"], named(d["Value"])) for alarm in single for d in alarm["Dimensions"]}
    for machine in template.resources(STATE_MACHINE):
        if ("ExecutionsFailed", machine) not in watched:
            yield f"{machine}: no alarm on failed executions"
    for name in sorted(_dead_letter_queues(template)):
        if ("ApproximateNumberOfMessagesVisible", name) not in watched:
            yield f"{name}: no alarm on its messages"


def _dead_letter_queues(template: Template) -> set[str]:
    targets: list[Any] = [
        queue["RedrivePolicy"]["deadLetterTargetArn"]
        for queue in template.resources(QUEUE).values()
        if "RedrivePolicy" in queue
    ]
    return {name for name in map(named, targets) if name is not None}


def environment_findings(template: Template, known: frozenset[str]) -> Iterator[str]:
    """Find environment variables that settings.py does not read, and settings that no function is given."""
    functions = template.resources(FUNCTION)
    given = {name: _variables(function) for name, function in functions.items()}
    for name, variables in given.items():
        for variable in sorted(variables - known):
            yield f"{name}: nothing reads {variable}"
    for variable in sorted(known - set().union(*given.values())):
        yield f"settings.py reads {variable}, which no function is given"


def _variables(function: Properties) -> set[str]:
    names = function.get("Environment", {}).get("Variables", {})
    return {name for name in names if not name.startswith("POWERTOOLS_")}
