"""`pullahead validate`: every problem of a rules file at once. Needs no AWS and no registry."""

import argparse
from collections.abc import Iterator, Sequence

from pullahead.cli.options import STDIN, add_output_options, add_rules_file, describe
from pullahead.cli.output import DONE, FAILED, write_document, write_result, write_text
from pullahead.cli.rules_file import read_rules
from pullahead.oci.platforms import parse_platform
from pullahead.registry.address_guard import kind_of_host
from pullahead.rules.file_format import schema_text
from pullahead.rules.model import Rules
from pullahead.rules.parameters import Parameter, inward_hosts, needed_parameters, rules_without_credentials
from pullahead.rules.problems import Problem, RulesError
from pullahead.rules.problems import describe as describe_problem
from pullahead.rules.sources.upstream_access import access_notes
from pullahead.text import count_text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    describe(
        parser,
        "Validate a rules file and report every problem, each with its line, its path and a hint. Of a valid file, "
        "list the parameters that the stack needs for it. Needs no network and no AWS credentials.",
        "validate rules.yaml",
        "validate --schema > rules.schema.json",
        failed="Failure, or the file has a problem",
    )
    add_rules_file(parser)
    parser.add_argument("--schema", action="store_true", help="Write the JSON Schema of rules files and exit")
    add_output_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Report the problems of a file, or how many rules it has and what it needs."""
    if arguments.schema:
        write_text(schema_text().rstrip("\n"))
        return DONE
    try:
        rules = read_rules(arguments.file)
    except RulesError as error:
        if arguments.json:
            write_document({"problems": [_document(problem) for problem in error.problems]})
        else:
            write_text("\n".join(describe_problem(error.source, problem) for problem in error.problems))
        return FAILED
    counts = _counts(rules)
    source = "stdin" if arguments.file == STDIN else arguments.file
    shown = ", ".join(count_text(count, _NOUNS[what]) for what, count in counts.items())
    parameters, notes = needed_parameters(rules), [*access_notes(rules), *_notes(rules)]
    text = "\n".join((f"{source}: valid ({shown})", *_needs(rules, parameters), *(f"note: {note}" for note in notes)))
    needs = {"parameters": {each.name: each.value for each in parameters}, "notes": notes}
    write_result(arguments, text, {"problems": [], **counts, **needs})
    return DONE


def _document(problem: Problem) -> dict[str, object]:
    """Write a problem with its file, where there are several."""
    return {key: value for key, value in problem._asdict().items() if value or key != "file"}


def _needs(rules: Rules, parameters: Sequence[Parameter]) -> Iterator[str]:
    """Write the parameters as lines of `parameter_overrides` in my-samconfig.toml."""
    inward = inward_hosts(rules)
    if parameters or inward:
        yield "parameters that the stack needs for it, as in `parameter_overrides` of my-samconfig.toml:"
    for parameter in parameters:
        yield f"  {parameter.override},"
    if inward:
        yield "  # If these are reachable from a VPC only: " + ", ".join(inward)
        yield '  # "VpcSubnetIds=subnet-…", "VpcSecurityGroupIds=sg-…",'


def _notes(rules: Rules) -> Iterator[str]:
    """Say what is valid and will not do what is meant."""
    inward = inward_hosts(rules)
    for host in dict.fromkeys(rule.upstream.registry for rule in rules.rules):
        kind = kind_of_host(host)
        if kind is None:
            continue
        if not kind.may_be_allowed:
            yield f"{host} is {kind.name}, to which Pullahead never connects"
        elif host not in inward:
            yield (
                f"{host} is {kind.name}, which is refused; if it is meant, write upstreams: "
                f'{{"{host}": {{private_addresses: true}}}}'
            )
    for platform in dict.fromkeys(name for rule in rules.rules for name in rule.platforms):
        if not parse_platform(platform).is_known:
            yield f"{platform} is no known platform: check its spelling. A tag without it is not copied (BLOCKED)"
    for rule in rules_without_credentials(rules):
        host = rule.upstream.registry
        yield f"{rule.upstream} is read anonymously: no `path` in the credentials of {host} matches it"


_NOUNS = {"rules": "rule", "exact_tags": "exact tag", "patterns": "pattern", "on_demand": "on-demand rule"}


def _counts(rules: Rules) -> dict[str, int]:
    counts = {
        "rules": len(rules.rules),
        "exact_tags": sum(len(rule.tags.named) for rule in rules.rules),
        "patterns": sum(len(rule.tags.patterns) for rule in rules.rules),
    }
    if on_demand := sum(rule.on_demand is not None for rule in rules.rules):
        counts["on_demand"] = on_demand
    return counts
