"""`pullahead check`: whether the target serves what upstream serves, by the rules. Writes nothing."""

from pullahead.cli.arguments import RulesArguments
from pullahead.cli.exits import DONE, FAILED, NOT_FRESH
from pullahead.cli.looking import look
from pullahead.cli.output import write_document, write_text
from pullahead.cli.rules_texts import UNTOLD, counts_text, looked_document, standing_line
from pullahead.mirrors.record import State


def run_check(arguments: RulesArguments) -> int:
    """Compare, and write a line for each tag that is not fresh."""
    looking = look(arguments)
    if looking is None:
        return FAILED
    tags = looking.looked.tags
    if arguments.common.json:
        write_document(looked_document(looking.looked, looking.rules, lambda _: {}))
    elif not arguments.common.quiet:
        unfresh = [each for each in tags if each.state not in {State.FRESH, *UNTOLD}]
        write_text("\n".join((*map(standing_line, unfresh), counts_text(tags))))
    if not looking.is_all_told:
        return FAILED
    return DONE if all(compared.state is State.FRESH for compared in tags) else NOT_FRESH
