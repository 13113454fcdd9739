"""Writes docs/policies.md: what every role of the template may do, and four policies to copy. Reads no file."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from local.policies import wording
from local.policies.deploying import LIMITS, deploy_policies, size
from local.policies.platform import ALL
from local.policies.roles import Owner, Statement, notes_on_statements, owners
from local.policies.users import PULL_MIRRORS, PULL_THROUGH_CACHE

_HEAD: Final = """\
# Permissions

<!-- Written by `make policies` from template.yaml. Edit that, or local/policies/, and not this file. -->

Every function has a role of its own, with what it calls and nothing else. `make test` proves both: the local AWS
records what each role calls while everything that Pullahead does is played, and a test fails for a call that is not
allowed as well as for a permission that no call needs.

Names in `code` are resources and parameters of [template.yaml](../template.yaml). All of them are in the stack's own
account and Region. “By” says who uses a permission: the function's code, or a service of AWS in the function's name.
"""
_PLATFORM: Final = """\
## What AWS does in the name of these roles

No request of Pullahead's code shows these; they follow from what the template asks for.

| Who | Does what | Permissions | Source |
| --- | --- | --- | --- |
"""
_USERS: Final = """\
## Policies to copy

Write your own account, Region and prefixes in place of `123456789012`, `eu-west-1`, `mirror/`, `docker-hub/` and
`quay/`.

### Who may pull mirrors

For people, nodes and build servers that pull what Pullahead published.

{mirrors}

### Who may pull through a pull through cache rule

`ecr:BatchImportUpstreamImage` is needed for every pull, also of a tag that is cached: without it ECR answers that the
image is not found, and not that something is denied. `ecr:CreateRepository` is needed for the first pull of a
repository. Neither is in AWS's managed policy `AmazonEC2ContainerRegistryPowerUser`. Who only pulls what Pullahead
keeps fresh can be given the first policy with the cache's prefixes instead: then only Pullahead changes what is cached.

{cache}

### Who may deploy

With `sam deploy`, CloudFormation acts in the name of whoever calls it; these are the permissions of the resource types
of the template, for a stack that is named `pullahead`. Whoever has them can make roles that are named `pullahead-…`,
and give them any permission: treat them as an administrator of this account, or let CloudFormation act by a role of its
own (`sam deploy --role-arn`) and let people only pass that one.

They are two policies, as one would be more than IAM takes. Make a customer managed policy of each, and attach both.

The first is for the stack, the functions, their roles and their logs:

{deploy_first}

The second is for what the functions work with:

{deploy_second}

### How large these policies are

IAM counts characters without white space. Your own names may be longer than those above.

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


def _row(owner: Owner, statement: Statement, note: str | None) -> str:
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
