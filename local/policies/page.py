"""Writes docs/policies.md: what every role of the template may do, and policies to copy. Reads no file."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from local.policies import wording
from local.policies.deploying import LIMITS, deploy_policies, size
from local.policies.platform import ALL
from local.policies.roles import Owner, RoleStatement, notes_on_statements, owners
from local.policies.users import PULL_MIRRORS, PULL_THROUGH_CACHE, PULL_UPSTREAM, TRUST_PULLAHEAD

_HEAD: Final = """\
# Permissions

<!-- Written by `make policies` from template.yaml. Edit that, or local/policies/, and not this file. -->

Every function has its own role, which allows the calls that the function makes and no others. `make test` proves
both: the local AWS records the calls of each role while the tests exercise every feature, and a test fails for a call
that is not allowed and for a permission that no call uses.

Names in `code` are resources and parameters of [template.yaml](../template.yaml), all in the stack's own account and
Region. The column “By” names who uses a permission: the function's code, or an AWS service on its behalf.
"""
_PLATFORM: Final = """\
## Permissions that AWS services use on behalf of these roles

Pullahead's code makes none of these calls; features that the template turns on require them.

| Service | What it does | Permissions | Source |
| --- | --- | --- | --- |
"""
_USERS: Final = """\
## Policies to copy

Replace `123456789012`, `eu-west-1`, `mirror/`, `docker-hub/` and `quay/` with your account, Region and prefixes.

### Who may pull mirrors

For users, nodes and build servers that pull mirrored images.

{mirrors}

### Who may pull through a pull through cache rule

`ecr:BatchImportUpstreamImage` is required for every pull, even of a cached tag: without it, ECR responds that the image
is not found rather than that access is denied. `ecr:CreateRepository` is required for the first pull of a repository.
The AWS managed policy `AmazonEC2ContainerRegistryPowerUser` has neither. For principals that pull only what Pullahead
keeps up to date, use the first policy with the cache's prefixes instead; then only Pullahead changes the cache.

{cache}

### A role in another account, to mirror from its ECR

Create a role with this policy in the account that has the upstream, here `210987654321`:

{upstream}

and with this trust policy. It names the roles of the three functions that connect to upstreams, in the account of
Pullahead and for a stack named `pullahead`:

{trust}

Then set the role as `credentials` of the registry in the rules ([rules.md](rules.md#hosts-upstreams)), and add its ARN
to the parameter `UpstreamRoles`. The role of a pull through cache rule cannot take its place: it trusts ECR only. ECR
in Pullahead's own account needs no role, in any Region (`UpstreamRepositories`).

### Who may deploy

CloudFormation deploys with the permissions of the caller of `sam deploy`. These policies cover the template's resource
types, for a stack named `pullahead`. They allow the caller to create roles named `pullahead-…` with any permissions:
treat principals that have them as administrators of the account, or let CloudFormation use a service role
(`sam deploy --role-arn`) and allow callers to pass that role only.

A single policy would exceed IAM's size limits. Create a customer managed policy from each, and attach both.

The first covers the stack, the functions, their roles and their logs:

{deploy_first}

The second covers the resources that the functions use:

{deploy_second}

### Sizes of these policies

IAM counts characters without white space. Longer names of your own count, too.

{sizes}
"""


def page(template: Mapping[str, Any], text: str) -> str:
    """Write the page, of a template as read and of its text, for the comments in it."""
    notes = notes_on_statements(text)
    types = {made["Type"] for made in template["Resources"].values()}
    first, second = deploy_policies(types)
    policies = {
        "who may pull mirrors": [PULL_MIRRORS],
        "who may pull through a cache rule": [PULL_THROUGH_CACHE],
        "a role in another account": [PULL_UPSTREAM],
        "who may deploy": [first, second],
    }
    return "\n".join(
        [
            _HEAD,
            *(_section(owner, notes) for owner in owners(template)),
            _PLATFORM + "\n".join(_platform()) + "\n",
            _USERS.format(
                mirrors=_json(PULL_MIRRORS),
                cache=_json(PULL_THROUGH_CACHE),
                upstream=_json(PULL_UPSTREAM),
                trust=_json(TRUST_PULLAHEAD),
                deploy_first=_json(first),
                deploy_second=_json(second),
                sizes=_sizes(policies),
            ).rstrip("\n"),
            "",
        ]
    )


def _section(owner: Owner, notes: Mapping[str, str]) -> str:
    rows = [_row(owner, statement, notes.get(statement.body["Sid"])) for statement in owner.statements]
    head = "| For what | Permissions | On what | Only | By |\n| --- | --- | --- | --- | --- |"
    return "\n".join(
        [f"## {_folder(owner.name)}", "", f"{owner.description}. Role `{owner.role}`.", "", head, *rows, ""]
    )


def _row(owner: Owner, statement: RoleStatement, note: str | None) -> str:
    only = [f"where {wording.given(statement.only_if)}"] if statement.only_if else []
    if condition := wording.conditions(statement.body.get("Condition", {})):
        only.append(f"if {condition}")
    cells = (
        wording.why(statement.body["Sid"], note),
        " ".join(f"`{action}`" for action in statement.actions),
        wording.resources(statement.body["Resource"]),
        ", ".join(only),
        owner.user_of(statement),
    )
    return f"| {' | '.join(cells)} |"


def _folder(name: str) -> str:
    """Name a function as its folder is named, and the state machine as it is."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name.removesuffix("Function")).lower() if name.endswith("Function") else name


def _platform() -> Iterator[str]:
    for who, what, source in dict.fromkeys((need.who, need.what, need.source) for need in ALL):
        actions = " ".join(f"`{need.action}`" for need in ALL if (need.who, need.what) == (who, what))
        yield f"| {who} | {what} | {actions} | {source} |"


def _sizes(policies: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    kinds = [f"{limit.kind} ({limit.characters:,} {limit.counts})" for limit in LIMITS]
    rows = ["| Policy | Characters | " + " | ".join(kinds) + " |", "| --- | --- |" + " --- |" * len(kinds)]
    for name, parts in policies.items():
        sizes = [size(part) for part in parts]
        fits = [(max(sizes) if limit.counts == "each" else sum(sizes)) <= limit.characters for limit in LIMITS]
        cells = [" and ".join(f"{each:,}" for each in sizes), *("fits" if each else "too large" for each in fits)]
        rows.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(rows)


def _json(policy: Mapping[str, Any]) -> str:
    return f"```json\n{json.dumps(policy, indent=2)}\n```"
