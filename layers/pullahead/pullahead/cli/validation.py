"""`pullahead validate`: everything that is wrong with a rules file, at once. Needs no AWS and no registry."""

from pullahead.cli.arguments import STDIN, ValidateArguments
from pullahead.cli.exits import DONE, FAILED
from pullahead.cli.output import write_document, write_text
from pullahead.cli.rules_file import read_rules
from pullahead.rules.file_format import schema_text
from pullahead.rules.model import Rules
from pullahead.rules.yaml_document import RulesError, describe


def run_validate(arguments: ValidateArguments) -> int:
    """Say what is wrong with a file, or how much is in it."""
    if arguments.schema:
        write_text(schema_text().rstrip("\n"))
        return DONE
    try:
        rules = read_rules(arguments.file)
    except RulesError as error:
        _write_problems(error, arguments)
        return FAILED
    _write_counts(rules, arguments)
    return DONE


def _write_problems(error: RulesError, arguments: ValidateArguments) -> None:
    if arguments.json:
        write_document({"problems": [problem._asdict() for problem in error.problems]})
    else:
        write_text("\n".join(describe(error.source, problem) for problem in error.problems))


def _write_counts(rules: Rules, arguments: ValidateArguments) -> None:
    counts = {
        "rules": len(rules.rules),
        "exact_tags": sum(len(rule.tags.names) for rule in rules.rules),
        "patterns": sum(len(rule.tags.patterns) for rule in rules.rules),
    }
    if on_demand := sum(rule.on_demand is not None for rule in rules.rules):
        counts["on_demand"] = on_demand
    if arguments.json:
        write_document({"problems": [], **counts})
    elif not arguments.quiet:
        source = "stdin" if arguments.file == STDIN else arguments.file
        shown = ", ".join(f"{what.replace('_', ' ')} {count}" for what, count in counts.items())
        write_text(f"{source}: valid ({shown})")
