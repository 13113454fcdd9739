"""The rules on demand as people write them. Decides which pulls may be allowed, and which rules may not meet."""

import re
from collections.abc import Mapping
from datetime import timedelta

from pullahead.oci import Repository
from pullahead.rules.fields import (
    Place,
    Problems,
    is_empty,
    read_count,
    read_field,
    read_fields,
    read_items,
    read_list,
    read_optional,
    read_text,
)
from pullahead.rules.keys import MAX_DAILY_LIMIT, ON_DEMAND
from pullahead.rules.mirrors import Claims, claim_target, make_rule, read_name, read_namespace, read_target
from pullahead.rules.model import DEFAULT_DAILY_LIMIT, DEFAULT_EXPIRE_AFTER, OnDemand, Rule
from pullahead.rules.options import Options, is_tag_glob, read_options, read_time
from pullahead.rules.repository_names import NAMESPACE
from pullahead.rules.tag_patterns import TagSelection
from pullahead.rules.yaml_document import quoted

_PATH_GLOB = re.compile(r"[a-z0-9._/*?\[\]!-]{1,256}")
_SHORTEST_EXPIRY, _LONGEST_EXPIRY = timedelta(days=1), timedelta(days=365)


def read_on_demand(place: Place, defaults: Options, claims: Claims, problems: Problems) -> tuple[Rule, ...]:
    """Read the list of rules on demand."""
    if is_empty(place.node):
        return ()
    read = [_rule(item, defaults, claims, problems) for item in read_items(place, problems)]
    return tuple(rule for rule in read if rule is not None)


def _rule(place: Place, defaults: Options, claims: Claims, problems: Problems) -> Rule | None:
    fields = read_fields(place, ON_DEMAND, problems)
    name = read_name(fields, claims, problems)
    upstream = read_optional(fields, "upstream", _upstream, problems)
    options = read_options(fields, defaults, problems)
    on_demand = _on_demand(fields, problems)
    at = fields.get("repository", place)
    target = read_target(at, options.repository, upstream, problems)
    if target is None or upstream is None or name is None:
        return None
    claim_target(at, target, upstream, claims, problems)
    return make_rule(name, upstream, options.repository, TagSelection(), options)._replace(on_demand=on_demand)


def _upstream(place: Place, problems: Problems) -> Repository | None:
    text = read_text(place, problems)
    if text is None:
        return None
    if not text.endswith(NAMESPACE):
        problems.add(
            place, f"{quoted(text)} is one repository", "End it in /*, as in docker.io/*; `allow` then says which."
        )
        return None
    return read_namespace(place, text.removesuffix(NAMESPACE), problems, whole=True)


def _on_demand(fields: Mapping[str, Place], problems: Problems) -> OnDemand:
    return OnDemand(
        read_field(fields, "allow", _allowed, problems, absent=()),
        read_field(fields, "deny", _globs, problems, absent=()),
        read_field(fields, "daily_limit", _limit, problems, absent=DEFAULT_DAILY_LIMIT),
        read_time(
            fields, "expire_after", DEFAULT_EXPIRE_AFTER, problems, shortest=_SHORTEST_EXPIRY, longest=_LONGEST_EXPIRY
        ),
    )


def _allowed(place: Place, problems: Problems) -> tuple[str, ...]:
    before = len(problems.found)
    globs = _globs(place, problems)
    if not globs and len(problems.found) == before:
        problems.add(place, "there is no pattern in it, so that nothing is allowed", 'Write allow: ["library/*"], say.')
    return globs


def _globs(place: Place, problems: Problems) -> tuple[str, ...]:
    return read_list(place, _glob, problems)


def _glob(place: Place, problems: Problems) -> str | None:
    text = read_text(place, problems)
    if text is None:
        return None
    path, colon, tag = text.partition(":")
    if _PATH_GLOB.fullmatch(path) is None:
        hint = "Write it like library/* or team/app:v*, with the path as upstream has it, and no host."
        problems.add(place, f"{quoted(path)} fits no upstream path", hint)
        return None
    return text if not colon or is_tag_glob(place, tag, problems) else None


def _limit(place: Place, problems: Problems) -> int | None:
    return read_count(place, problems, least=1, most=MAX_DAILY_LIMIT)
