"""How a command says why it failed: lines on stderr, and with --json one document on stdout as well.

Imports the rules and so YAML, which a command that succeeds may not need.
"""

from typing import Any

from pullahead.cli.output import say, write_failure
from pullahead.errors import NotFoundError, RegistryError, RegistryTimeoutError, RegistryUnavailableError, Side
from pullahead.rules.problems import RulesError
from pullahead.rules.problems import describe as describe_problem


def report_failure(error: Exception, upstream: str, *, as_json: bool) -> None:
    """Report what a command raised; `upstream` is what the side that is read is called."""
    lines = _lines(error, upstream)
    for line in lines:
        say(line)
    if as_json:
        write_failure(type(error).__name__, "\n".join(lines), _details(error, upstream))


def _lines(error: Exception, upstream: str) -> list[str]:
    if isinstance(error, RegistryError):
        line, advice = error.describe(_side(error, upstream)), _advice(error)
        return [line if error.advice or not advice else f"{line} {advice}"]
    if isinstance(error, RulesError):
        return [describe_problem(error.source, problem) for problem in error.problems]
    if isinstance(error, OSError):
        return [f"{type(error).__name__}: {error.strerror or 'an operation failed'}"]
    return [str(error)]


def _advice(error: RegistryError) -> str:
    """What to do, also where that is plain to the functions of a stack, whose alerts say it in their own words."""
    if error.advice:
        return error.advice
    if isinstance(error, NotFoundError):
        return "Check the name."
    if isinstance(error, RegistryUnavailableError | RegistryTimeoutError) and error.status is None:
        return "Check the host, its port and the network."
    return ""


def _details(error: Exception, upstream: str) -> dict[str, Any]:
    if isinstance(error, RulesError):
        return {"problems": [problem._asdict() for problem in error.problems]}
    if not isinstance(error, RegistryError):
        return {}
    return {
        "operation": error.operation,
        "side": _side(error, upstream),
        "reference": error.reference,
        "cause": error.cause,
        "status": error.status,
        "code": error.code or None,
        "sent": error.sent or None,
        "tries": error.tries,
        "advice": _advice(error) or None,
        "retryable": error.retryable,
    }


def _side(error: RegistryError, upstream: str) -> str:
    return upstream if error.side is Side.UPSTREAM else error.side
