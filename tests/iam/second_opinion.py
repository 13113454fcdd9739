"""Asks a second judge of IAM, which others wrote, about the same requests as ours: `iam-simulate` of Cloud Copilot.

It runs in Node.js, from a folder that `make iam-judge` sets up (.build/iam-judge). It validates what it is asked: that
actions, types of resources and condition keys are AWS's.
"""

import json
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from local.aws import ACCOUNT_ID
from local.policies.evaluation import AccessRequest, Statement

FOLDER: Final = Path(__file__).parents[2] / ".build" / "iam-judge"
_PROGRAM: Final = Path(__file__).parent / "second_judge" / "judge.js"
_SECONDS: Final = 120
_KNOWN_AS: Final = {"ecr:ListImageReferrers": "ecr:DescribeImageReplicationStatus"}
"""Actions that its list lacks, and others in their place that no policy here has: only the name differs."""
_OF_AWS: Final = {"aws:requestedregion": "aws:RequestedRegion", "aws:resourceaccount": "aws:ResourceAccount"}


class Verdict(NamedTuple):
    """What the second judge says; `error`: why it does not judge. `ignored`: keys that the action does not have."""

    allowed: bool = False
    error: str = ""
    ignored: tuple[str, ...] = ()


def is_installed() -> bool:
    """Tell whether the second judge can be asked."""
    return shutil.which("node") is not None and (FOLDER / "node_modules").is_dir()


def second_opinion(statements: Iterable[Statement], requests: Sequence[AccessRequest]) -> list[Verdict]:
    """Judge requests by the statements of the roles that make them. Raises subprocess.SubprocessError."""
    documents: dict[str, list[dict[str, Any]]] = {}
    for each in statements:
        documents.setdefault(each.role, []).append(_document(each))
    asked = [_question(each) for each in requests]
    for question in asked:
        documents.setdefault(question["role"], [])
    shutil.copy(_PROGRAM, FOLDER / _PROGRAM.name)
    done = subprocess.run(
        ["node", _PROGRAM.name],
        cwd=FOLDER,
        input=json.dumps({"policies": documents, "requests": asked}),
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=True,
    )
    return [Verdict(**{**each, "ignored": tuple(each.get("ignored", ()))}) for each in json.loads(done.stdout)]


def _document(statement: Statement) -> dict[str, Any]:
    written = {
        "Effect": statement.effect,
        "Action": [_KNOWN_AS.get(action, action) for action in statement.actions],
        "Resource": list(statement.resources),
        **({"Condition": statement.conditions} if statement.conditions else {}),
    }
    return {"Version": "2012-10-17", "Statement": [written]}


def _question(asked: AccessRequest) -> dict[str, Any]:
    context: dict[str, Any] = {}
    for key, value in asked.context:
        context.setdefault(_OF_AWS.get(key, key), []).append(value)
    owner = context.get("aws:ResourceAccount", [ACCOUNT_ID])[0]
    return {
        "role": asked.role,
        "home": ACCOUNT_ID,
        "action": _KNOWN_AS.get(asked.action, asked.action),
        "resource": asked.resource,
        "account": owner,
        "context": {key: values if len(values) > 1 or _has_many(key) else values[0] for key, values in context.items()},
    }


def _has_many(key: str) -> bool:
    """Whether a key may have several values (Service Authorization Reference: its type is ArrayOf...)."""
    return key in ("dynamodb:leadingkeys", "dynamodb:attributes", "events:source", "aws:tagkeys")
