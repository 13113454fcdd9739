"""The operations of the ECR API on repository creation templates. They are kept and described; nothing is made by them.

ECR applies them to what it creates itself, for pull through caches, replication and pushes to repositories that are
missing; none of that happens here.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from local.ecr.errors import EcrError
from local.ecr.identity import ACCOUNT_ID, DEFAULT_PAGE
from local.ecr.paging import page_of

Parameters = Mapping[str, Any]
Answer = dict[str, Any]


class TemplateOperations:
    """The templates of the one registry, by prefix."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._templates: dict[str, Answer] = {}

    def clear(self) -> None:
        """Forget all templates."""
        self._templates.clear()

    def table(self) -> dict[str, Callable[[Parameters], Answer]]:
        """List the operations by their names in the API."""
        return {
            "CreateRepositoryCreationTemplate": self.create,
            "DescribeRepositoryCreationTemplates": self.describe,
            "DeleteRepositoryCreationTemplate": self.delete,
        }

    def create(self, p: Parameters) -> Answer:
        """CreateRepositoryCreationTemplate."""
        prefix = p["prefix"]
        if prefix in self._templates:
            raise EcrError("TemplateAlreadyExistsException", f"There is a template for the prefix '{prefix}' already")
        moment = self._now().timestamp()
        template = {"imageTagMutability": "MUTABLE", **p, "createdAt": moment, "updatedAt": moment}
        self._templates[prefix] = template
        return {"registryId": ACCOUNT_ID, "repositoryCreationTemplate": template}

    def describe(self, p: Parameters) -> Answer:
        """DescribeRepositoryCreationTemplates."""
        wanted = p.get("prefixes", sorted(self._templates))
        found = [self._templates[prefix] for prefix in sorted(wanted) if prefix in self._templates]
        page = page_of(found, lambda each: str(each["prefix"]), p.get("maxResults", DEFAULT_PAGE), p.get("nextToken"))
        return {"registryId": ACCOUNT_ID, "repositoryCreationTemplates": list(page.items), **page.token}

    def delete(self, p: Parameters) -> Answer:
        """DeleteRepositoryCreationTemplate."""
        prefix = p["prefix"]
        if prefix not in self._templates:
            raise EcrError("TemplateNotFoundException", f"There is no template for the prefix '{prefix}'")
        return {"registryId": ACCOUNT_ID, "repositoryCreationTemplate": self._templates.pop(prefix)}
