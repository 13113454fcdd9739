"""The use case of webhooks with its ports in memory, and one rule for every sender's sample."""

from typing import Any

from pullahead.oci import Repository
from pullahead.rules.model import Rule, Rules
from pullahead.rules.tag_patterns import TagSelection
from pullahead.webhooks.http import WebhookResponse
from pullahead.webhooks.receive import ReceiveWebhook, SecretCache
from tests.fakes.event_windows import FakeEventWindows
from tests.fakes.memory import FakeCheckQueue, FakeClock
from tests.fakes.samples import rule
from tests.fakes.script import Script
from tests.fakes.webhooks import FakeCheckBudget, FakeReplayGuard, FakeWebhookSecrets

HOSTS = {
    "dockerhub": "docker.io",
    "github": "ghcr.io",
    "quay": "quay.io",
    "harbor": "harbor.example.com",
    "gitlab": "registry.gitlab.example.com",
    "acr": "team.azurecr.io",
    "artifactory": "docker-local.acme.jfrog.io",
    "distribution": "registry.example.com:5000",
    "generic": "registry.example.com",
}
"""Where each sender's sample says that team/app:1.0 was pushed."""


def sample_rules() -> Rules:
    """Name team/app:1.0 at each of the hosts."""
    return followed(
        *(
            rule("1.0", upstream=f"{host}/team/app", name=host, repository=repository_of(host))
            for host in HOSTS.values()
        )
    )


def repository_of(host: str) -> str:
    """Name the target repository of a host's team/app."""
    return f"mirror/{host.replace(':', '-')}/team/app"


def followed(*declared: Rule) -> Rules:
    """Make rules with the mirrors of what they name, as loading does."""
    mirrors = [each.mirror(tag) for each in declared if not each.is_namespace for tag in each.tags.names]
    return Rules(tuple(mirrors), (), "rules-1", declared)


def namespace(path: str, *names: str, **more: Any) -> Rule:
    """Make a rule for everything below a path of quay.io."""
    repository = more.pop("repository", "quay/{name}")
    tags = more.pop("tags", TagSelection(names=names))
    return rule(upstream=str(Repository("quay.io", f"{path}/*")), repository=repository, tags=tags, **more)


class WebhookReceiver:
    """A process that receives webhooks."""

    def __init__(self, rules: Rules | None = None) -> None:
        self.script, self.clock = Script(), FakeClock()
        self.rules = rules if rules is not None else sample_rules()
        self.queue, self.windows = FakeCheckQueue(self.script), FakeEventWindows(self.script)
        self.calls, self.secrets = FakeReplayGuard(self.script), FakeWebhookSecrets(self.script)
        self.budget = FakeCheckBudget(self.script)
        self.use_case = self.process()

    def process(self) -> ReceiveWebhook:
        """Start another process, with empty caches."""
        known = SecretCache(self.secrets, self.clock)
        return ReceiveWebhook(self._load, known, self.windows, self.queue, self.calls, self.budget, self.clock)

    def receive(self, event: object) -> WebhookResponse:
        """Receive a webhook."""
        return self.use_case(event)

    def status(self, event: object) -> int:
        """Receive a webhook, and return the response's status."""
        return self.receive(event).status

    @property
    def asked(self) -> list[str]:
        """The calls of AWS in order, without reads of the secret."""
        return [call for call in self.script.calls if call != "read_webhook_secrets"]

    def _load(self) -> Rules:
        return self.rules
