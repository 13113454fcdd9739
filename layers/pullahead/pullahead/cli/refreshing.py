"""`pullahead refresh`: a check that a human asks for, by the one queue."""

from pullahead.cli.exits import DONE
from pullahead.cli.output import write_document, write_text
from pullahead.cli.stack import DeployedStack, now
from pullahead.cli.stack_arguments import RefreshArguments
from pullahead.errors import ConfigError
from pullahead.messages import CheckRequest


def run_refresh(arguments: RefreshArguments, stack: DeployedStack) -> int:
    """Queue the check, of a mirror that a rule follows and that is not paused."""
    name = arguments.mirror
    mirror = stack.rules(arguments.rules).find(name.repository, name.tag)
    if mirror is None:
        raise ConfigError(f"no rule follows {name}; `pullahead status` lists what is followed")
    if mirror.rule in stack.pauses.paused_rules():
        raise ConfigError(f"the rule {mirror.rule} is paused; `pullahead resume {mirror.rule}` first")
    request = CheckRequest(reason="manual", repository=name.repository, tags=(name.tag,), asked_at=now())
    stack.queue.send([request])
    if arguments.json:
        write_document({"mirror": str(name), "upstream": str(mirror.upstream), "asked_at": request.asked_at})
    elif not arguments.quiet:
        write_text(f"{name} will be checked now, and refreshed from {mirror.upstream} unless it is fresh")
    return DONE
