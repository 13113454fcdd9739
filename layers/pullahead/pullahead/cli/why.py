"""`pullahead why`: how a mirror stands, and why. Asks upstream and ECR only where it is told to."""

from pullahead.cli.arguments import Common
from pullahead.cli.exits import DONE
from pullahead.cli.output import write_document, write_text
from pullahead.cli.stack import DeployedStack, now
from pullahead.cli.stack_arguments import WhyArguments
from pullahead.dashboard.explain import Known, Step, explain
from pullahead.errors import AccessDeniedError, ConfigError, PullaheadError
from pullahead.mirrors.judge import Observation
from pullahead.oci import Descriptor, Digest
from pullahead.oci.registries import Target, Upstream
from pullahead.rules.mirror_key import MirrorKey
from pullahead.rules.model import Mirror, Rules


def run_why(arguments: WhyArguments, stack: DeployedStack) -> int:
    """Read what is known of a mirror, look at both sides if that is asked for, and explain."""
    name = arguments.mirror
    rules = stack.rules(arguments.rules)
    mirror = rules.find(name.repository, name.tag)
    record = stack.records.load([name]).get(name)
    if mirror is None and record is None:
        raise ConfigError(f"no rule follows {name}, and nothing is remembered of it")
    paused = mirror is not None and mirror.rule in stack.pauses.paused_rules()
    seen = _ask(mirror, rules, arguments) if arguments.ask and mirror is not None else None
    steps = explain(name, Known(mirror, record, seen, paused), rules, now())
    if arguments.json:
        write_document({"mirror": str(name), "asked": seen is not None, "steps": [step._asdict() for step in steps]})
    elif not arguments.quiet:
        write_text(steps_text(name, steps))
    return DONE


def look(mirror: Mirror, upstream: Upstream, target: Target) -> Observation:
    """Ask both sides once. Raises what ECR raises but for a refusal."""
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


def _ask(mirror: Mirror, rules: Rules, arguments: WhyArguments) -> Observation:
    from pullahead.cli.account import account_target  # noqa: PLC0415 - neither is needed without --ask
    from pullahead.cli.rules_connections import RulesConnections  # noqa: PLC0415

    common = Common(arguments.insecure, None, arguments.json, arguments.quiet)
    return look(mirror, RulesConnections(common, rules).upstream(), account_target())
