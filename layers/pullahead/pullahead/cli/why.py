"""`pullahead why`: the state of a mirror, or of a rule's listing, and why. Queries upstream and ECR only with --ask."""

import argparse
from typing import Any, NamedTuple

from pullahead.cli.options import RegistryOptions, add_output_options, describe, parsed_by
from pullahead.cli.output import DONE, write_result
from pullahead.cli.stack import DeployedStack, add_rules_option, add_stack_options, deployed_stack, now
from pullahead.dashboard.explain import (
    ListedRule,
    MirrorFacts,
    Selection,
    Step,
    explain,
    explain_image,
    explain_listing,
    explain_selection,
)
from pullahead.dashboard.find_subjects import NamedImage, SubjectFinder, parse_named_image
from pullahead.errors import AccessDeniedError, ConfigError, PullaheadError
from pullahead.mirrors.judge import Observation
from pullahead.mirrors.pinned import reference_to_ask
from pullahead.mirrors.record import MirrorRecord
from pullahead.mirrors.rule_record import rule_key
from pullahead.oci import Descriptor, Digest, Reference
from pullahead.oci.registries import Target, Upstream
from pullahead.rules.mirror_key import MirrorKey
from pullahead.rules.model import Mirror, Rule, Rules
from pullahead.rules.tag_patterns import selection_text
from pullahead.text import one_line


class Explanation(NamedTuple):
    """The steps that explain one subject, and whether upstream and ECR were queried."""

    subject: str
    steps: list[Step]
    asked: bool = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    describe(
        parser,
        "Explain the state of a mirror step by step: its rule, upstream, ECR, the verdict, and what happens next; also "
        "why a rule did not select a tag, and how the listing of a rule's tags went. Changes nothing.",
        "why mirror/python:3.13",
        "why mirror/python:3.13 --ask",
        "why 123456789012.dkr.ecr.eu-west-1.amazonaws.com/mirror/python@sha256:...",
        "why docker.io/library/python:3.13",
        "why mirror/python",
    )
    parser.add_argument(
        "subject",
        metavar="NAME",
        type=parsed_by(parse_named_image),
        help="REPOSITORY:TAG as in Amazon ECR, an image's address as in a pod (with a tag, a digest or both), its "
        "upstream's address, REPOSITORY for the rules that publish into it, or a listing as `status` names it",
    )
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
    """Find what was named, and explain each of it by rules and records; query both sides with --ask."""
    named: NamedImage = arguments.subject
    rules = stack.rules(arguments.rules)
    explainer = _Explainer(arguments, stack, rules)
    subjects = SubjectFinder(rules, stack.records.load, stack.records.load_one)(named)
    explanations = [
        *(explainer.of_mirror(key, named) for key in subjects.mirrors),
        *(explainer.of_listing(rule) for rule in subjects.rules),
    ]
    if not explanations:
        raise ConfigError(_unknown_text(named))
    texts = [steps_text(each) for each in explanations]
    first, *others = [_document(each) for each in explanations]
    if subjects.more:
        texts.append(
            f"and more than these; name one of them, or see `pullahead status --prefix {named.repository.path}`"
        )
    write_result(arguments, "\n\n".join(texts), {**first, "others": others} if others else first)
    return DONE


def _unknown_text(named: NamedImage) -> str:
    if named.digest is not None and named.tag is None:
        return (
            f"no mirror of {named.repository} is known to have served {named.digest}: it may be older, or the manifest "
            "of one platform of an index; give the tag, if you know it"
        )
    return f"no rule selects {named.text}, and it has no record; run `pullahead status` to list all mirrors"


class _Explainer:
    """Explains mirrors and listings by what the stack knows."""

    def __init__(self, arguments: argparse.Namespace, stack: DeployedStack, rules: Rules) -> None:
        self._arguments, self._stack, self._rules = arguments, stack, rules
        self._paused = stack.pauses.paused_rules()

    def of_mirror(self, key: MirrorKey, named: NamedImage) -> Explanation:
        """Explain a mirror, or why a tag is none. Raises ConfigError for a tag that no rule could have selected."""
        mirror = self._rules.find(key.repository, key.tag)
        record = self._stack.records.load([key]).get(key)
        candidates = self._rules.rules_of(key.repository)
        is_named = mirror is not None and any(rule.tags.is_named(key.tag) for rule in candidates)
        selection = Selection() if is_named else explain_selection(key.tag, self._listed(candidates), now())
        if mirror is None and record is None and not selection.text:
            selects = "; ".join(f"rule {rule.name} selects {selection_text(rule.tags)}" for rule in candidates)
            more = f"; {selects}" if selects else ""
            raise ConfigError(
                f"no rule selects {key}, and it has no record{more}; run `pullahead status` to list all mirrors"
            )
        is_paused = mirror is not None and mirror.rule in self._paused
        seen = self._ask(mirror, record) if self._arguments.ask and mirror is not None else None
        skipped = self._rules.skipped.get(mirror.rule, "") if mirror is not None else ""
        known = MirrorFacts(mirror, record, seen, is_paused, selection, skipped)
        steps = [*explain_image(named, self._stack.home, record), *explain(key, known, self._rules, now())]
        return Explanation(str(key), steps, seen is not None)

    def of_listing(self, rule: Rule) -> Explanation:
        """Explain the listing of a rule."""
        (listed,) = self._listed((rule,))
        steps = explain_listing(
            listed, now(), is_paused=rule.name in self._paused, skipped=self._rules.skipped.get(rule.name, "")
        )
        return Explanation(str(rule_key(rule)), steps)

    def _listed(self, rules: tuple[Rule, ...]) -> list[ListedRule]:
        return [ListedRule(rule, self._stack.records.load_one(rule_key(rule))) for rule in rules]

    def _ask(self, mirror: Mirror, known: MirrorRecord | None) -> Observation:
        from pullahead.cli.account import account_target  # noqa: PLC0415 - neither is needed without --ask
        from pullahead.cli.registries import RulesRegistries  # noqa: PLC0415

        options = RegistryOptions(frozenset(self._arguments.insecure))
        return observe(mirror, known, RulesRegistries(options, self._rules).upstream(), account_target())


def observe(mirror: Mirror, known: MirrorRecord | None, upstream: Upstream, target: Target) -> Observation:
    """Query both sides once. Denied access to ECR, and any error of upstream, are part of the observation."""
    published: Digest | AccessDeniedError | None
    try:
        published = target.published_digests(mirror.repository, [mirror.tag]).get(mirror.tag)
    except AccessDeniedError as error:
        published = error
    return Observation(_head(reference_to_ask(mirror, known, published), upstream), published)


def steps_text(explanation: Explanation) -> str:
    """Write the steps below each other."""
    width = max(len(step.about) for step in explanation.steps)
    steps = (f"  {step.about:<{width}}  {one_line(step.text)}" for step in explanation.steps)
    return "\n".join([explanation.subject, *steps])


def _document(explanation: Explanation) -> dict[str, Any]:
    steps = [{"about": step.about, "text": one_line(step.text)} for step in explanation.steps]
    return {"mirror": explanation.subject, "asked": explanation.asked, "steps": steps}


def _head(reference: Reference, upstream: Upstream) -> Descriptor | PullaheadError:
    try:
        return upstream.head_manifest(reference)
    except PullaheadError as error:
        return error
