"""`python -m local`: the local AWS with the stack in it, until Ctrl-C. Prints what to type, and what happens.

With --empty nothing is deployed, so that one's own `sam deploy` is the first.
"""

import argparse
import json
import logging
import os
import shlex
import signal
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from local.aws.pool import Invocation, report_line
from local.aws.runtime_directory import REPOSITORY
from local.aws.server import LocalAws
from local.aws.topics import Publication
from local.deploy import DeploymentError, Stack, deploy, update
from local.folders import folder_of_a_run
from local.introduction import RulesInUse, introduction
from local.lines import alert_line, event_line, invocation_lines, rules_line
from local.live_rules import LAYER, LiveRules
from pullahead.errors import ConfigError

DEFAULT_PORT = 4566
TICK_SECONDS = 5.0
_LOOK_SECONDS = 0.5
_LAYER_OF_RULES = REPOSITORY / "layers/rules"


_STOPPING = threading.Event()
"""Set when the user stops the program: what is raised by a signal can be lost in a callback of C code."""


class _StoppedError(BaseException):
    """The user has stopped the program, at whatever point it is."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until interrupted; 1 when the stack cannot be deployed."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.CRITICAL, format="%(asctime)s %(name)s: %(message)s", datefmt="%H:%M:%S")
    logging.getLogger("local").setLevel(logging.WARNING)  # others warn of what concerns nobody here
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _stop)
    try:
        with folder_of_a_run("pullahead-local-") as folder:
            _run(options, folder)
    except (ConfigError, DeploymentError, OSError) as error:
        print(f"local AWS: {error}", file=sys.stderr)
        return 1
    except _StoppedError:
        return 0


def _stop(_number: int, _frame: FrameType | None) -> NoReturn:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # what was started is ended once, and as a whole
    os.write(sys.stdout.fileno(), b"stopping\n")  # not by print, which may just be printing
    _STOPPING.set()
    raise _StoppedError


def _end_if_stopped() -> None:
    if _STOPPING.is_set():
        raise _StoppedError


def _log_in(aws: LocalAws, logins: Path) -> None:
    """Write a login to the registry, which is valid for 12 hours, as of `docker login`."""
    token = aws.client("ecr").get_authorization_token()["authorizationData"][0]["authorizationToken"]
    logins.write_text(json.dumps({"auths": {aws.url.removeprefix("http://"): {"auth": token}}}))


def _run(options: argparse.Namespace, folder: Path) -> NoReturn:
    screen = _Screen(verbose=options.verbose)
    rules = None if options.empty else LiveRules(options.rules, folder / "rules")
    deployed = None if rules is None else RulesInUse(rules.path, rules.begin())
    content = {LAYER: folder / "rules"}
    with LocalAws(folder / "aws", options.port, on_invocation=screen.show_invocation) as aws:
        stack = None if rules is None else deploy(aws, options.template, parameters=options.parameters, content=content)
        _end_if_stopped()
        logins = folder / "logins.json"
        _log_in(aws, logins)
        print(introduction(aws.url, stack, deployed, logins), flush=True)
        aws.bus.after_put = screen.show_events
        aws.topics.after_publish = lambda published: screen.show_alert(published, stack)
        aws.ticker.start(TICK_SECONDS)

        def deploy_rules() -> None:
            changed = update(aws, options.template, content)
            aws.client("lambda").invoke(
                FunctionName=changed.resources["ScheduleChecksFunction"], InvocationType="Event", Payload=b"{}"
            )

        try:
            while True:
                time.sleep(_LOOK_SECONDS)
                _end_if_stopped()
                for line in rules.reload(deploy_rules) if rules is not None else ():
                    screen.say(rules_line(line))
        finally:
            screen.close()


class _Screen:
    """Prints lines from any thread, each with the time."""

    def __init__(self, *, verbose: bool) -> None:
        self._verbose, self._closed = verbose, False
        self._printing = threading.Lock()

    def say(self, line: str, details: Sequence[str] = ()) -> None:
        """Print a line, and below it the details if all is to be printed."""
        shown = [f"{time.strftime('%H:%M:%S')} {line}", *(f"  {detail}" for detail in details if self._verbose)]
        with self._printing:
            if not self._closed:
                print(*shown, sep="\n", flush=True)

    def close(self) -> None:
        """Print no more: what is still running is cut off."""
        self._closed = True

    def show_invocation(self, invocation: Invocation) -> None:
        if self._verbose:
            self.say(report_line(invocation), invocation.logs.splitlines())
            return
        for line in invocation_lines(invocation):
            self.say(line)

    def show_events(self, entries: Sequence[Mapping[str, Any]]) -> None:
        for entry in entries:
            self.say(event_line(entry))

    def show_alert(self, published: Publication, stack: Stack | None) -> None:
        if stack is not None and published.topic_arn == stack.outputs["ChatAlertsTopicArn"]:
            return  # the same alert, for a chat
        self.say(alert_line(published.subject or published.message), published.message.splitlines())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m local", description="Run the stack on this machine.")
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help="port on the loopback address (%(default)s)")
    parser.add_argument(
        "--rules", type=Path, default=_LAYER_OF_RULES, help="rules file, or folder with rules.yaml (layers/rules)"
    )
    parser.add_argument(
        "--parameters",
        type=_parameters,
        default={},
        metavar="NAME=VALUE...",
        help="parameters of the template in one argument, such as 'LogLevel=DEBUG Webhooks=on'",
    )
    parser.add_argument("--empty", action="store_true", help="deploy nothing; `sam deploy` into it yourself")
    parser.add_argument("--verbose", action="store_true", help="print log entries and alerts whole")
    parser.add_argument("--template", type=Path, default=REPOSITORY / "template.yaml", help=argparse.SUPPRESS)
    return parser


def _parameters(text: str) -> dict[str, str]:
    """Read `Name=value` pairs as a shell would: a value with spaces is quoted."""
    pairs = [part.partition("=") for part in shlex.split(text)]
    if wrong := [name for name, equals, _ in pairs if not (name and equals)]:
        raise argparse.ArgumentTypeError(f"{wrong[0]!r} is not Name=value")
    return {name: value for name, _, value in pairs}


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    os._exit(status)  # threads of requests that were cut off would be waited for
