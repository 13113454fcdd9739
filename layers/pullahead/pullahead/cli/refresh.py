"""`pullahead refresh`: a check of one mirror, requested by hand."""

import argparse

from pullahead.cli.options import add_output_options, describe
from pullahead.cli.output import DONE, write_result
from pullahead.cli.stack import (
    DeployedStack,
    add_mirror_argument,
    add_rules_option,
    add_stack_options,
    deployed_stack,
    now,
)
from pullahead.errors import ConfigError
from pullahead.messages import CheckRequest
from pullahead.rules.mirror_key import MirrorKey


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    describe(
        parser,
        "Queue a check of a mirror and, if it is stale, a refresh. The back-off after a failed refresh and the "
        "immutability of a tag are ignored; limits of the upstream registry are not.",
        "refresh mirror/python:3.13",
    )
    add_mirror_argument(parser)
    add_stack_options(parser)
    add_rules_option(parser)
    add_output_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the command against the deployed stack."""
    with deployed_stack(arguments) as stack:
        return request_refresh(arguments, stack)


def request_refresh(arguments: argparse.Namespace, stack: DeployedStack) -> int:
    """Queue the check of a mirror that a rule selects and that is not paused."""
    name: MirrorKey = arguments.mirror
    mirror = stack.rules(arguments.rules).find(name.repository, name.tag)
    if mirror is None:
        raise ConfigError(f"no rule selects {name}; run `pullahead status` to list all mirrors")
    if mirror.rule in stack.pauses.paused_rules():
        raise ConfigError(f"rule {mirror.rule} is paused; run `pullahead resume {mirror.rule}` first")
    request = CheckRequest(reason="manual", repository=name.repository, tags=(name.tag,), asked_at=now())
    stack.queue.send([request])
    document = {"mirror": str(name), "upstream": str(mirror.upstream), "asked_at": request.asked_at}
    write_result(arguments, f"queued a check of {name}; it is refreshed from {mirror.upstream} if stale", document)
    return DONE
