"""`pullahead validate`: every problem of a rules file at once. Needs no AWS and no registry."""

import argparse

from pullahead.cli.options import STDIN, add_output_options, add_rules_file, describe
from pullahead.cli.output import DONE, FAILED, write_document, write_result, write_text
from pullahead.cli.rules_file import read_rules
from pullahead.rules.file_format import schema_text
from pullahead.rules.model import Rules
from pullahead.rules.sources.upstream_access import access_notes
from pullahead.rules.yaml_document import RulesError
from pullahead.rules.yaml_document import describe as describe_problem
from pullahead.text import count_text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    describe(
        parser,
        "Validate a rules file and report every problem, each with its line, its path and a hint. Needs no network and "
        "no AWS credentials.",
        "validate rules.yaml",
        "validate --schema > rules.schema.json",
    )
    add_rules_file(parser)
    parser.add_argument("--schema", action="store_true", help="Write the JSON Schema of rules files and exit")
    add_output_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Report the problems of a file, or how many rules it has."""
    if arguments.schema:
        write_text(schema_text().rstrip("\n"))
        return DONE
    try:
        rules = read_rules(arguments.file)
    except RulesError as error:
        if arguments.json:
            write_document({"problems": [problem._asdict() for problem in error.problems]})
        else:
            write_text("\n".join(describe_problem(error.source, problem) for problem in error.problems))
        return FAILED
    counts, notes = _counts(rules), access_notes(rules)
    source = "stdin" if arguments.file == STDIN else arguments.file
    shown = ", ".join(count_text(count, _NOUNS[what]) for what, count in counts.items())
    text = "\n".join([f"{source}: valid ({shown})", *(f"note: {note}" for note in notes)])
    write_result(arguments, text, {"problems": [], "notes": notes, **counts})
    return DONE


_NOUNS = {"rules": "rule", "exact_tags": "exact tag", "patterns": "pattern", "on_demand": "on-demand rule"}


def _counts(rules: Rules) -> dict[str, int]:
    counts = {
        "rules": len(rules.rules),
        "exact_tags": sum(len(rule.tags.names) for rule in rules.rules),
        "patterns": sum(len(rule.tags.patterns) for rule in rules.rules),
    }
    if on_demand := sum(rule.on_demand is not None for rule in rules.rules):
        counts["on_demand"] = on_demand
    return counts
