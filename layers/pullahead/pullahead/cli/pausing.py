"""`pullahead pause` and `pullahead resume`: whether a rule's mirrors are looked after."""

from pullahead.cli.exits import DONE, NOTHING_TO_DO
from pullahead.cli.output import write_document, write_text
from pullahead.cli.rules_file import only_rules
from pullahead.cli.stack import DeployedStack
from pullahead.cli.stack_arguments import PauseArguments


def run_pause(arguments: PauseArguments, stack: DeployedStack) -> int:
    """Pause a rule that is there, or resume one that is paused."""
    rule, before = arguments.rule, stack.pauses.paused_rules()
    if (rule in before) is arguments.paused:
        return _tell(arguments, f"{rule} is {'paused already' if arguments.paused else 'not paused'}", NOTHING_TO_DO)
    if not arguments.paused:
        stack.pauses.resume(rule)
        return _tell(arguments, f"{rule} is looked after again, each mirror when it is due", DONE)
    only_rules(stack.rules(arguments.rules), {rule})
    stack.pauses.pause(rule)
    text = f"{rule} is paused: within a minute nothing of it is checked or refreshed; what is under way ends"
    return _tell(arguments, text, DONE)


def _tell(arguments: PauseArguments, text: str, code: int) -> int:
    if arguments.json:
        write_document({"rule": arguments.rule, "paused": arguments.paused, "changed": code == DONE})
    elif not arguments.quiet:
        write_text(text)
    return code
