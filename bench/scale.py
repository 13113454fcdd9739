"""`python -m bench.scale`: what functions take in a deployment of 100,000 tags: memory, time and units of DynamoDB.

The real handlers run, one in a process, against answers that another process makes up (`scale_aws`). Memory is the
process's peak, imports included. Time is the handler's CPU, divided by the share of a CPU that the function's memory
brings: what waiting for AWS adds is not in it. Another processor takes another time.
"""

import argparse
import contextlib
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import requests

from bench.costs import between
from bench.scale_aws import Setup
from bench.scale_run import cpu_share
from bench.servers import free_port, own_environment
from local.deploy.template import load_template
from pullahead.errors import ConfigError
from pullahead.rules.load import load_rules

ROOT: Final = Path(__file__).parents[1]
PAGE: Final = ROOT / "docs" / "operating.md"
BEGIN, END = "<!-- scale: written by `make scale` -->", "<!-- scale: end -->"
MEMORY_GOAL, TIME_GOAL = 0.6, 0.5
"""Shares of a function's memory and timeout."""
_LONGEST_SECONDS: Final = 900
_NAME: Final = "pullahead-bench"
_AS: Final = {"schedule_checks": "ScheduleChecks", "review_records": "ReviewRecords", "show_mirrors": "ShowMirrors"}


class _FailedError(Exception):
    """A case cannot be measured."""


class Case(NamedTuple):
    """What is run, and in which deployment: how many mirrors are not fresh, and whether that was told."""

    name: str
    runs: str  # a function, or a command
    unfresh: int = 0
    told: bool = True
    scan_is_due: bool = False
    rules_are_new: bool = False


class Limits(NamedTuple):
    """The settings of a function."""

    memory_mb: int
    timeout: float


class Taken(NamedTuple):
    """What a run took."""

    cpu_seconds: float
    peak_mib: float
    read_units: float
    write_units: int
    calls: int
    result: str


def cases(mirrors: int) -> tuple[Case, ...]:
    """List what is run with so many mirrors."""
    tenth = mirrors // 10
    return (
        Case("review, every mirror is fresh", "review_records"),
        Case(f"review, {tenth:,} not fresh, told", "review_records", tenth),
        Case(f"review, {tenth:,} not fresh, to be told", "review_records", tenth, told=False),
        Case("review, none is fresh, to be told", "review_records", mirrors, told=False),
        Case("review with a segment of the daily scan", "review_records", mirrors // 100, scan_is_due=True),
        Case("page of mirrors, every mirror is fresh", "show_mirrors"),
        Case(f"page of mirrors, {tenth:,} not fresh", "show_mirrors", tenth),
        Case("page of mirrors, none is fresh", "show_mirrors", mirrors),
        Case("schedule, a run of many", "schedule_checks"),
        Case("schedule, new rules: all are due", "schedule_checks", rules_are_new=True),
        Case("`pullahead status --stale`", "status --stale", tenth),
        Case("`pullahead status`", "status", tenth),
    )


def measure(case: Case, mirrors: int, history: int, folder: Path) -> Taken:
    """Run one case."""
    setup = Setup(mirrors, case.unfresh, case.told, history, "", case.scan_is_due)
    rules = folder / "rules.yaml"
    text = setup.deployment.rules()
    rules.write_text(text, encoding="utf-8")
    digest = "others" if case.rules_are_new else _digest_of(text)
    limits = limits_of(case.runs)
    with made_up_aws(msgspec.structs.replace(setup, rules_digest=digest), folder) as url:
        command = [sys.executable, "-m", "bench.scale_run", case.runs, *map(str, limits or (1769, 3600.0))]
        with (folder / "out").open("wb") as output, (folder / "err").open("w+") as report:
            environment = own_environment() | _environment(url, rules)
            subprocess.run(
                command, env=environment, stdout=output, stderr=report, timeout=_LONGEST_SECONDS, check=False
            )
            report.seek(0)
            lines = report.read().strip().splitlines()
        counts = requests.get(f"{url}/counts", timeout=60).json()
    try:
        found = json.loads(lines[-1])
    except (IndexError, json.JSONDecodeError):
        raise _FailedError(f"{case.name} failed: {' '.join(lines)[-600:]}") from None
    calls = sum(count for name, count in counts.items() if name[0].isupper())
    units = counts.get("read half units", 0) / 2, counts.get("write units", 0)
    return Taken(found["cpu_seconds"], found["peak_mib"], *units, calls, found["result"])


def limits_of(runs: str) -> Limits | None:
    """Read the settings of a function in template.yaml; a command has none."""
    if runs not in _AS:
        return None
    template: Any = load_template(ROOT / "template.yaml")
    own = template["Resources"][f"{_AS[runs]}Function"]["Properties"]
    common = template["Globals"]["Function"]
    return Limits(*(int(own.get(name, common[name])) for name in ("MemorySize", "Timeout")))


@contextlib.contextmanager
def made_up_aws(setup: Setup, folder: Path) -> Iterator[str]:
    """Run the server until the end of the block."""
    port = free_port()
    url, command = f"http://127.0.0.1:{port}", [sys.executable, "-m", "bench.scale_aws", str(port)]
    with (
        (folder / "server.log").open("wb") as log,
        subprocess.Popen(
            [*command, msgspec.json.encode(setup).decode()], env=own_environment(), stdout=log, stderr=log
        ) as process,
    ):
        try:
            _wait_for(url, process)
            yield url
        finally:
            process.terminate()


def _wait_for(url: str, process: "subprocess.Popen[bytes]") -> None:
    for _ in range(200):
        with contextlib.suppress(requests.ConnectionError):
            requests.get(f"{url}/v2/", timeout=10)
            return
        if process.poll() is not None:
            break
        time.sleep(0.1)
    raise _FailedError(f"{url} does not answer")


def _digest_of(text: str) -> str:
    return load_rules(text, source="rules.yaml").digest


def _environment(url: str, rules: Path) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "bench",
        "AWS_SECRET_ACCESS_KEY": "bench",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_REGION": "eu-west-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "POWERTOOLS_SERVICE_NAME": _NAME,
        "POWERTOOLS_METRICS_NAMESPACE": "Pullahead",
        "RULES_PATH": str(rules),
        "RECORDS_TABLE": "records",
        "PLANS_BUCKET": _NAME,
        "ALERTS_TOPIC_ARN": f"arn:aws:sns:eu-west-1:123456789012:{_NAME}",
        "CHAT_ALERTS_TOPIC_ARN": f"arn:aws:sns:eu-west-1:123456789012:{_NAME}-chat",
        "SILENCE_SECONDS": "1800",
        "CHECKS_QUEUE_URL": f"{url}/123456789012/{_NAME}",
        "TARGET_REPOSITORIES": "*",
        "NO_PROXY": "127.0.0.1",
    }


def row(case: Case, taken: Taken) -> str:
    """Write a row of the table."""
    limits = limits_of(case.runs)
    if limits is None:
        memory, seconds = f"{taken.peak_mib:.0f}", f"{taken.cpu_seconds:.1f}"
    else:
        scaled = taken.cpu_seconds / cpu_share(limits.memory_mb)
        memory = _of(taken.peak_mib, limits.memory_mb, MEMORY_GOAL)
        seconds = _of(scaled, limits.timeout, TIME_GOAL)
    units = f"{taken.read_units:,.0f} | {taken.write_units:,}"
    return f"| {case.name} | {memory} | {taken.cpu_seconds:.2f} | {seconds} | {units} | {taken.calls:,} |"


def _of(value: float, setting: float, goal: float) -> str:
    share = value / setting
    return f"{value:.0f} of {setting:.0f} ({share:.0%}){'' if share <= goal else ' **over**'}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print the table. 1 if something takes more than its share."""
    parser = argparse.ArgumentParser(prog="python -m bench.scale", description="Measure functions with many mirrors.")
    parser.add_argument("--mirrors", type=int, default=100_000, help="how many there are (%(default)s)")
    parser.add_argument(
        "--history", type=int, default=20, help="states in each record's past (%(default)s, at most 60)"
    )
    parser.add_argument("--only", default="", metavar="TEXT", help="only what has this in its name")
    parser.add_argument("--write-docs", action="store_true", help="write the table into docs/operating.md, too")
    options = parser.parse_args(arguments)
    head = "| what | peak MiB | CPU s | seconds at its memory | read units | write units | calls |"
    lines = [head, "| --- | ---: | ---: | ---: | ---: | ---: | ---: |"]
    print("\n".join(lines), flush=True)
    for case in cases(options.mirrors):
        if options.only not in case.name:
            continue
        with tempfile.TemporaryDirectory() as folder:
            try:
                written = row(case, measure(case, options.mirrors, options.history, Path(folder)))
            except (_FailedError, ConfigError, subprocess.TimeoutExpired) as error:
                written = f"| {case.name} | **not measured**: {str(error)[-300:]} |  |  |  |  |  |"
        print(written, flush=True)
        lines.append(written)
    measured = f"{options.mirrors:,} mirrors, {options.history} past states each, measured on {_machine()}."
    print(measured)
    if options.write_docs:
        text = "\n".join([*lines, "", measured])
        PAGE.write_text(between(PAGE.read_text(encoding="utf-8"), BEGIN, END, text), encoding="utf-8")
    return int(any("**" in line for line in lines))


def _machine() -> str:
    names = re.findall(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
    return f"{time.strftime('%Y-%m-%d', time.gmtime())}, {len(names)} x {names[0] if names else 'an unknown CPU'}"


if __name__ == "__main__":
    sys.exit(main())
