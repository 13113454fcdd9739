"""The operations of the ECR API on pull through cache rules. What is fetched by them is `cache_imports`'s.

Beside the registries that ECR knows, one on this machine may be an upstream, since there is no other here. That ECR
has cached something of another one is played by pushing to a repository under the rule's prefix.
"""

import re
import threading
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from local.ecr.errors import EcrError, invalid_parameter
from local.ecr.identity import ACCOUNT_ID, DEFAULT_PAGE
from local.ecr.paging import page_of

Parameters = Mapping[str, Any]
Answer = dict[str, Any]

ROOT = "ROOT"
_MAX_RULES = 50
_UPSTREAMS = {
    "public.ecr.aws": "ecr-public",
    "registry.k8s.io": "k8s",
    "quay.io": "quay",
    "registry-1.docker.io": "docker-hub",
    "ghcr.io": "github-container-registry",
    "registry.gitlab.com": "gitlab-container-registry",
    "cgr.dev": "chainguard",
}
_NEED_CREDENTIALS = frozenset(
    {"docker-hub", "github-container-registry", "gitlab-container-registry", "azure-container-registry", "chainguard"}
)
_AZURE = re.compile(r"[a-z0-9]+\.azurecr\.io")
_ECR = re.compile(r"\d{12}\.dkr\.ecr\.[a-z0-9-]+\.amazonaws\.com")
_THIS_MACHINE = re.compile(r"(?:127\.0\.0\.1|localhost)(?::\d+)?")


class CacheRuleOperations:
    """What the API does with pull through cache rules."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._rules: dict[str, Answer] = {}
        self._lock = threading.Lock()

    def table(self) -> dict[str, Callable[[Parameters], Answer]]:
        """List the operations by their names in the API."""
        return {
            "CreatePullThroughCacheRule": self.create,
            "DescribePullThroughCacheRules": self.describe,
            "DeletePullThroughCacheRule": self.delete,
        }

    def clear(self) -> None:
        """Forget every rule."""
        with self._lock:
            self._rules.clear()

    def rule_for(self, repository: str) -> Answer | None:
        """Find the rule that caches a repository: the one with the longest prefix."""
        with self._lock:
            rules = {f"{prefix}/": rule for prefix, rule in self._rules.items()}
        covering = [prefix for prefix in rules if prefix == f"{ROOT}/" or repository.startswith(prefix)]
        return rules[max(covering, key=len)] if covering else None

    def create(self, p: Parameters) -> Answer:
        """CreatePullThroughCacheRule."""
        rule = self._checked(p)
        prefix = rule["ecrRepositoryPrefix"]
        with self._lock:
            if prefix in self._rules:
                raise EcrError(
                    "PullThroughCacheRuleAlreadyExistsException",
                    f"A pull through cache rule with repository prefix '{prefix}' already exists",
                )
            if len(self._rules) >= _MAX_RULES:
                raise EcrError("LimitExceededException", f"A registry may have at most {_MAX_RULES} rules")
            self._rules[prefix] = rule
        return {key: value for key, value in rule.items() if key != "updatedAt"}

    def describe(self, p: Parameters) -> Answer:
        """DescribePullThroughCacheRules."""
        prefixes = p.get("ecrRepositoryPrefixes")
        with self._lock:
            rules = [self._rules[prefix] for prefix in sorted(self._rules)]
        if prefixes is not None:
            missing = set(prefixes) - {rule["ecrRepositoryPrefix"] for rule in rules}
            if missing:
                raise _not_found(min(missing))
            rules = [rule for rule in rules if rule["ecrRepositoryPrefix"] in prefixes]
        size = p.get("maxResults", DEFAULT_PAGE)
        page = page_of(rules, lambda rule: str(rule["ecrRepositoryPrefix"]), size, p.get("nextToken"))
        return {"pullThroughCacheRules": list(page.items), **page.token}

    def delete(self, p: Parameters) -> Answer:
        """DeletePullThroughCacheRule."""
        with self._lock:
            rule = self._rules.pop(p["ecrRepositoryPrefix"], None)
        if rule is None:
            raise _not_found(p["ecrRepositoryPrefix"])
        return {key: value for key, value in rule.items() if key not in {"updatedAt", "upstreamRegistry"}}

    def _checked(self, p: Parameters) -> Answer:
        prefix, url = p["ecrRepositoryPrefix"], p["upstreamRegistryUrl"]
        upstream = p.get("upstreamRegistry", _kind_of(url))
        if prefix == ROOT and p.get("upstreamRepositoryPrefix", ROOT) != ROOT:
            raise invalid_parameter("An upstreamRepositoryPrefix does not go with the ecrRepositoryPrefix 'ROOT'")
        if upstream in _NEED_CREDENTIALS and not p.get("credentialArn"):
            raise invalid_parameter(f"A credentialArn is needed for the upstream registry '{upstream}'")
        now = self._now().timestamp()
        return {
            "ecrRepositoryPrefix": prefix,
            "upstreamRegistryUrl": url,
            "upstreamRegistry": upstream,
            "upstreamRepositoryPrefix": p.get("upstreamRepositoryPrefix", ROOT),
            **{key: p[key] for key in ("credentialArn", "customRoleArn") if key in p},
            "registryId": ACCOUNT_ID,
            "createdAt": now,
            "updatedAt": now,
        }


def is_this_machine(url: str) -> bool:
    """Tell whether an upstream is on this machine."""
    return _THIS_MACHINE.fullmatch(url) is not None


def _kind_of(url: str) -> str:
    if url in _UPSTREAMS:
        return _UPSTREAMS[url]
    if _AZURE.fullmatch(url):
        return "azure-container-registry"
    if _ECR.fullmatch(url) or is_this_machine(url):
        return "ecr"
    raise EcrError("UnsupportedUpstreamRegistryException", f"The upstream registry '{url}' is not supported")


def _not_found(prefix: str) -> EcrError:
    message = f"The pull through cache rule with repository prefix '{prefix}' does not exist in the registry"
    return EcrError("PullThroughCacheRuleNotFoundException", f"{message} with id '{ACCOUNT_ID}'")
