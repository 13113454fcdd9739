"""`python -m local.demo [--upstream REFERENCE]`: exit 0 if every step succeeded, 1 with the reason, 2 if misused."""

import argparse
import sys
import time
from collections.abc import Callable

from local.aws.server import NotIdleError
from local.demo.deviation import DeviationError
from local.demo.screen import Screen
from local.demo.stage import Stage, set_stage
from local.demo.story import Story
from pullahead.errors import PullaheadError
from pullahead.oci import InvalidReferenceError, Reference, parse_reference


def main(arguments: list[str] | None = None, inspect: Callable[[Stage], None] = lambda _stage: None) -> int:
    """Run the demo; `inspect` is shown the local AWS when the story has ended well."""
    parser = argparse.ArgumentParser(prog="make demo", description="Pullahead, whole, on this machine.")
    parser.add_argument("--upstream", type=_tagged, help="a real upstream, like docker.io/library/alpine:3.20")
    upstream: Reference | None = parser.parse_args(arguments).upstream
    screen = Screen()
    started = time.monotonic()
    screen.say("Starting the local AWS and deploying template.yaml into it ...")
    try:
        with set_stage(upstream) as stage:
            screen.say(f"{len(stage.stack.resources)} resources are up after {time.monotonic() - started:.0f} s")
            Story(stage, screen).tell()
            inspect(stage)
    except (DeviationError, NotIdleError, PullaheadError) as error:
        screen.console.print(f"[red bold]The demo went wrong:[/red bold] {error}")
        return 1
    screen.console.print(f"All as it should be, in {time.monotonic() - started:.0f} s.")
    return 0


def _tagged(text: str) -> Reference:
    try:
        reference = parse_reference(text)
    except InvalidReferenceError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    if reference.tag is None:
        raise argparse.ArgumentTypeError(f"{text}: a tag is needed, since it is a tag that is kept fresh")
    return reference


if __name__ == "__main__":
    sys.exit(main())
