"""`pullahead why`: the state of a mirror, and why. Queries upstream and ECR only with --ask."""

import argparse

from pullahead.cli.options import RegistryOptions, add_output_options, describe
from pullahead.cli.output import DONE, write_result
from pullahead.cli.stack import (
    DeployedStack,
    add_mirror_argument,
    add_rules_option,
    add_stack_options,
    deployed_stack,
    now,
)
from pullahead.dashboard.explain import Known, Step, explain
from pullahead.errors import AccessDeniedError, ConfigError, PullaheadError
from pullahead.mirrors.judge import Observation
from pullahead.oci import Descriptor, Digest
from pullahead.oci.registries import Target, Upstream
from pullahead.rules.mirror_key import MirrorKey
from pullahead.rules.model import Mirror, Rules


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    describe(
        parser,
        "Explain the state of a mirror step by step: its rule, upstream, ECR, the verdict, and what happens next. "
        "Changes nothing.",
        "why mirror/python:3.13",
        "why mirror/python:3.13 --ask",
    )
    add_mirror_argument(parser)
    parser.add_argument("--ask", action="store_true", help="Query upstream and ECR now (one HEAD, one DescribeImages)")
    parser.add_argument(
        "--insecure",
        metavar="HOST",
        action="append",
        default=[],
        help="With --ask: allow plain HTTP and private addresses for this host (repeatable)",
    )
    add_stack_options(parser)
    add_rules_option(parser)
    add_output_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the command against the deployed stack."""
    with deployed_stack(arguments) as stack:
        return show_why(arguments, stack)


def show_why(arguments: argparse.Namespace, stack: DeployedStack) -> int:
    """Read rule and record of a mirror, query both sides with --ask, and explain."""
    name: MirrorKey = arguments.mirror
    rules = stack.rules(arguments.rules)
    mirror = rules.find(name.repository, name.tag)
    record = stack.records.load([name]).get(name)
    if mirror is None and record is None:
        raise ConfigError(f"no rule selects {name}, and it has no record; run `pullahead status` to list all mirrors")
    paused = mirror is not None and mirror.rule in stack.pauses.paused_rules()
    observation = _ask(mirror, rules, arguments) if arguments.ask and mirror is not None else None
    steps = explain(name, Known(mirror, record, observation, paused), rules, now())
    document = {"mirror": str(name), "asked": observation is not None, "steps": [step._asdict() for step in steps]}
    write_result(arguments, steps_text(name, steps), document)
    return DONE


def observe(mirror: Mirror, upstream: Upstream, target: Target) -> Observation:
    """Query both sides once. Denied access to ECR, and any error of upstream, are part of the observation."""
    published: Digest | AccessDeniedError | None
    try:
        published = target.published_digests(mirror.repository, [mirror.tag]).get(mirror.tag)
    except AccessDeniedError as error:
        published = error
    return Observation(_head(mirror, upstream), published)


def steps_text(key: MirrorKey, steps: list[Step]) -> str:
    """Write the steps below each other."""
    width = max(len(step.about) for step in steps)
    return "\n".join([str(key), *(f"  {step.about:<{width}}  {step.text}" for step in steps)])


def _head(mirror: Mirror, upstream: Upstream) -> Descriptor | PullaheadError:
    try:
        return upstream.head_manifest(mirror.upstream)
    except PullaheadError as error:
        return error


def _ask(mirror: Mirror, rules: Rules, arguments: argparse.Namespace) -> Observation:
    from pullahead.cli.account import account_target  # noqa: PLC0415 - neither is needed without --ask
    from pullahead.cli.registries import RulesRegistries  # noqa: PLC0415

    options = RegistryOptions(frozenset(arguments.insecure))
    return observe(mirror, RulesRegistries(options, rules).upstream(), account_target())
