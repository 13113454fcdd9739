"""IAM's SimulatePrincipalPolicy for roles, which moto lacks: a role's inline policies, as moto keeps them, are judged.

IAM API reference, SimulatePrincipalPolicy. What the policies mean is decided by `local.policies.evaluation`.
"""

import ast
import json
from collections.abc import Mapping
from typing import Any, Final

from local.aws import ACCOUNT_ID
from local.aws.moto_guard import take
from local.policies.evaluation import AccessRequest, Statement, is_allowed, statements_of

_RESPONSES: Final = "moto.iam.responses"
_OPERATION: Final = "simulate_principal_policy"


def install() -> None:
    """Answer an operation that moto does not have."""
    response_class = take(_RESPONSES, "IamResponse")
    setattr(response_class, _OPERATION, _simulate)


def _simulate(request: Any) -> Any:
    role = request._get_param("PolicySourceArn").rpartition("/")[2]
    statements = _statements(role)
    context = tuple(pair for entry in request._get_param("ContextEntries", []) for pair in _context(entry))
    results = [
        {
            "EvalActionName": action,
            "EvalResourceName": resource,
            "EvalDecision": _decision(statements, AccessRequest(role, action, resource, context)),
        }
        for action in request._get_param("ActionNames")
        for resource in request._get_param("ResourceArns", ["*"])
    ]
    return take("moto.core.responses", "ActionResult")({"EvaluationResults": results, "IsTruncated": False})


def role_may(role: str, action: str, resource: str) -> bool:
    """Tell whether a role's policies allow it an action."""
    return is_allowed(_statements(role), AccessRequest(role, action, resource))


def _statements(role: str) -> list[Statement]:
    found = take("moto.iam.models", "iam_backends")[ACCOUNT_ID]["aws"].get_role(role)
    if found.managed_policies:
        raise NotImplementedError(f"the local IAM judges inline policies only, and {role} has managed ones")
    return [statement for each in found.policies.values() for statement in statements_of(role, document_of(each))]


def document_of(kept: Any) -> Mapping[str, Any]:
    """Read a policy as moto keeps it: what CloudFormation gave as Python writes it, what the API gave as JSON."""
    if not isinstance(kept, str):
        document: Mapping[str, Any] = kept
        return document
    try:
        parsed: Mapping[str, Any] = json.loads(kept)
    except ValueError:
        parsed = ast.literal_eval(kept)
    return parsed


def _context(entry: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(entry["ContextKeyName"].lower(), value) for value in entry["ContextKeyValues"]]


def _decision(statements: list[Statement], asked: AccessRequest) -> str:
    return "allowed" if is_allowed(statements, asked) else "implicitDeny"
