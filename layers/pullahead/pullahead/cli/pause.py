"""`pullahead pause` and `pullahead resume`: whether a rule's mirrors are checked and refreshed."""

import argparse

from pullahead.cli.options import add_output_options, describe
from pullahead.cli.output import DONE, write_result
from pullahead.cli.rules_file import only_rules
from pullahead.cli.stack import DeployedStack, add_rules_option, add_stack_options, deployed_stack


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe both commands."""
    if parser.prog.endswith(" pause"):
        describe(
            parser,
            "Stop all checks, listings and refreshes of a rule's mirrors, within a minute, until the rule is resumed. "
            "A running refresh finishes.",
            "pause python",
        )
    else:
        describe(parser, "Resume a paused rule. Each of its mirrors is checked when it is next due.", "resume python")
    parser.add_argument("rule", metavar="RULE", help="The rule's name, or its upstream if it has none")
    add_stack_options(parser)
    add_rules_option(parser)
    add_output_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the command against the deployed stack."""
    with deployed_stack(arguments) as stack:
        return set_paused(arguments, stack)


def set_paused(arguments: argparse.Namespace, stack: DeployedStack) -> int:
    """Pause a rule that exists, or resume one that is paused."""
    rule, pause = arguments.rule, arguments.command == "pause"
    is_change = (rule in stack.pauses.paused_rules()) is not pause
    if not is_change:
        text = f"nothing to do: rule {rule} is {'already' if pause else 'not'} paused"
    elif pause:
        only_rules(stack.rules(arguments.rules), {rule})
        stack.pauses.pause(rule)
        text = f"paused rule {rule}: within a minute no check and no refresh starts; a running refresh finishes"
    else:
        stack.pauses.resume(rule)
        text = f"resumed rule {rule}: each mirror is checked when it is next due"
    write_result(arguments, text, {"rule": rule, "paused": pause, "changed": is_change})
    return DONE
