"""`pullahead prune --dry-run`: which tags rules with `prune` would remove from ECR, and what holds the others."""

import argparse
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from pullahead.cli.options import add_output_options, describe
from pullahead.cli.output import DONE, FAILED, say, write_result
from pullahead.cli.rules_file import only_rules
from pullahead.cli.stack import DeployedStack, add_rules_option, add_stack_option, deployed_stack, now
from pullahead.errors import ConfigError
from pullahead.mirrors.missing import Missing, PruneReason
from pullahead.retention.plan import PlanPruning, RulePlan, RulesNotInForce
from pullahead.retention.ports import TagLister
from pullahead.rules.mirror_key import MirrorKey
from pullahead.text import count_text, moment_text, one_line


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    describe(
        parser,
        "Show which tags the rules with `prune` would remove from ECR now, which are missing for not long enough, and "
        "what holds the others. Changes nothing: only the function prune_tags removes, once a day, where a rule says "
        "`mode: delete`.",
        "prune --dry-run",
        "prune --dry-run nginx --json",
    )
    parser.add_argument("rule", metavar="RULE", nargs="?", help="This rule alone (default: every rule with `prune`)")
    parser.add_argument("--dry-run", action="store_true", required=True, help="Only show it; there is no other way")
    add_stack_option(parser)
    add_rules_option(parser)
    add_output_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the command against the deployed stack."""
    from pullahead.cli.account import account_tags  # noqa: PLC0415 - imports boto3

    with deployed_stack(arguments) as stack:
        return show_pruning(arguments, stack, account_tags())


def show_pruning(arguments: argparse.Namespace, stack: DeployedStack, tags: TagLister) -> int:
    """Plan as the function does, without a write."""
    rules = replace(stack.rules(arguments.rules), paused=stack.pauses.paused_rules())
    if arguments.rule is not None:
        only_rules(rules, {arguments.rule})
    planner = PlanPruning(lambda: rules, stack.rules_state, stack.records, tags, now)
    found = planner.rules_that_prune()
    if isinstance(found, RulesNotInForce):
        raise ConfigError(f"nothing would be pruned: {found.why}")
    chosen = [rule for rule in found[1] if arguments.rule in (None, rule.name)]
    plans = sorted((planner.plan(rule, rules) for rule in chosen), key=lambda each: each.rule.name)
    for each in plans:
        if each.error is not None:
            say(f"{each.rule.name}: {each.error}")
    texts = [line for each in plans for line in _lines(each)]
    if not plans:
        texts = ["no rule has `prune`: no tag is ever removed"]
    write_result(arguments, "\n".join(texts), {"rules": [_document(each) for each in plans]})
    return FAILED if any(each.error is not None for each in plans) else DONE


def _lines(found: RulePlan) -> Iterator[str]:
    due, mode = found.plan.due, "delete" if found.policy.deletes else "report"
    counts = f"{count_text(len(found.tags), 'tag')}, {len(due)} due, {len(found.plan.held)} held"
    yield f"{found.rule.name} ({found.rule.repository}): {counts}; mode: {mode}"
    if found.plan.doubt is not None:
        yield f"  nothing goes, and no day counts: {one_line(found.plan.doubt)}"
    for key, missing in _missing(found):
        held = found.plan.held.get(key)
        state = "due" if key in due else "held" if held is not None else "missing"
        yield f"  {state:<8} {key.tag}: {_reason(missing)}{f'; {one_line(held)}' if held is not None else ''}"
    for each in found.expired:
        yield f"  {'expired':<8} {each.kept.tag}: {each.key.tag} moved away on {moment_text(each.kept.at)}"


def _reason(missing: Missing) -> str:
    what = "gone upstream" if missing.reason is PruneReason.GONE else "not chosen"
    at = f" on {moment_text(missing.left_at)}" if missing.left_at is not None else ""
    left = f"; not removed{at}, since an index needs it, or it had moved" if at else ""
    return f"{what} since {moment_text(missing.since)}, seen on {count_text(missing.days, 'day')}{left}"


def _missing(found: RulePlan) -> list[tuple[MirrorKey, Missing]]:
    """List what is missing: what is due first, then what has been missing for longest."""
    every = [(key, missing) for key, missing in found.plan.missing.items() if missing is not None]
    return sorted(every, key=lambda each: (each[0] not in found.plan.due, each[1].since, each[0]))


def _document(found: RulePlan) -> dict[str, Any]:
    return {
        "rule": found.rule.name,
        "repository": found.rule.repository,
        "mode": "delete" if found.policy.deletes else "report",
        "tags": len(found.tags),
        "missing": [
            {
                "tag": key.tag,
                "reason": missing.reason,
                "since": missing.since,
                "days": missing.days,
                "due": key in found.plan.due,
                "held": found.plan.held.get(key),
                "left_at": missing.left_at,
            }
            for key, missing in _missing(found)
        ],
        "doubt": found.plan.doubt,
        "expired": [each.kept.tag for each in found.expired],
        "error": None if found.error is None else str(found.error),
    }
