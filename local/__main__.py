"""`python -m local`: the local AWS with the stack in it, until Ctrl-C. Prints what to point tools at.

With --empty nothing is deployed, so that one's own `sam deploy` is the first.
"""

import argparse
import logging
import signal
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from local.aws import ACCESS_KEY, ACCOUNT_ID, REGION, SECRET_KEY
from local.aws.pool import Invocation, report_line
from local.aws.runtime_directory import REPOSITORY
from local.aws.server import LocalAws
from local.deploy import DeploymentError, Stack, deploy

DEFAULT_PORT = 4566
TICK_SECONDS = 5.0
_RULES_LAYER = "RulesLayer"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until interrupted; 1 when the stack cannot be deployed."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s: %(message)s", datefmt="%H:%M:%S")
    stopping = threading.Event()

    def stop(_: int, __: FrameType | None) -> None:
        stopping.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    with tempfile.TemporaryDirectory(prefix="pullahead-local-") as temporary:
        try:
            _run(options, Path(temporary), stopping)
        except (DeploymentError, OSError) as error:
            print(f"local AWS: {error}", file=sys.stderr)
            return 1
    return 0


def _run(options: argparse.Namespace, data_directory: Path, stopping: threading.Event) -> None:
    with LocalAws(data_directory, options.port, on_invocation=_show) as aws:
        rules = {_RULES_LAYER: options.rules} if options.rules else {}
        stack = None if options.empty else deploy(aws, options.template, content=rules)
        print(introduction(aws.url, stack), flush=True)
        aws.ticker.start(TICK_SECONDS)
        stopping.wait()
        print("stopping", flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m local", description="Run the stack on this machine.")
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help="port on the loopback address (%(default)s)")
    parser.add_argument("--rules", type=Path, help="folder to use instead of layers/rules")
    parser.add_argument("--empty", action="store_true", help="deploy nothing; `sam deploy` into it yourself")
    parser.add_argument("--template", type=Path, default=REPOSITORY / "template.yaml", help=argparse.SUPPRESS)
    return parser


def introduction(url: str, stack: Stack | None) -> str:
    """Say what to type to use the local AWS."""
    registry = url.removeprefix("http://")
    content = "with the stack in it" if stack else "and empty"
    outputs = (
        "\n".join(f"  {name} = {value}" for name, value in sorted(stack.outputs.items())) if stack else "  none yet"
    )
    return f"""\
The local AWS (account {ACCOUNT_ID}) is up, {content}. Ctrl-C stops it and forgets everything.

  export AWS_ENDPOINT_URL={url} AWS_REGION={REGION} AWS_DEFAULT_REGION={REGION}
  export AWS_ACCESS_KEY_ID={ACCESS_KEY} AWS_SECRET_ACCESS_KEY={SECRET_KEY}

  aws --endpoint-url {url} ecr describe-repositories
  aws ecr get-login-password | skopeo login --tls-verify=false -u AWS --password-stdin {registry}
  skopeo list-tags --tls-verify=false docker://{registry}/REPOSITORY

To deploy into it as into AWS, in another terminal after these exports (`make setup` gets the SAM CLI):

  export SAM_CLI_TELEMETRY=0 PATH="{REPOSITORY}/.venv-sam/bin:$PATH"
  export PULLAHEAD_BUILD_PLATFORM=host PYTHON={sys.executable}   # wheels that this machine can run; not for AWS
  sam build && sam deploy    # takes layers/rules/rules.yaml; edit it and do it again
  sam deploy --guided        # asks for each parameter, and writes the answers into samconfig.toml
  sam deploy --parameter-overrides LogRetentionDays=7
  sam delete

Outputs of the stack:
{outputs}
"""


def _show(invocation: Invocation) -> None:
    for line in invocation.logs.splitlines():
        print(f"  {line}")
    print(report_line(invocation), flush=True)


if __name__ == "__main__":
    sys.exit(main())
