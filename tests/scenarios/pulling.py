"""A client that pulls from the deployed stack's ECR, and the on-demand rule for its pulls."""

from collections.abc import Iterator
from contextlib import contextmanager
from http.client import NOT_FOUND
from typing import NamedTuple

import requests

from local.demo.client import PlainClient
from local.images import LocalImage
from tests.scenarios.deployment import CHECK_EVERY, PULLED, TAG
from tests.scenarios.scene import Scene

FUNCTIONS = ("ScheduleChecks", "NoticePulls", "CheckFreshness", "PlanCopy", "CopyBlobs", "RecordOutcome")


class Puller(NamedTuple):
    """A client that pulls what an on-demand rule of this scene allows."""

    scene: Scene
    prefix: str

    @property
    def rule(self) -> str:
        return f"rule of {self.prefix}"

    def repository(self, path: str) -> str:
        return f"{self.prefix}/{path}"

    def client(self) -> PlainClient:
        answer = self.scene.aws.client("ecr").get_authorization_token()
        return PlainClient(self.scene.aws.url, answer["authorizationData"][0]["authorizationToken"])

    def fails(self, path: str, tag: str = TAG) -> None:
        """Pull what is not there, and wait for all that follows."""
        try:
            self.client().pull(self.repository(path), tag)
        except requests.HTTPError as error:
            if error.response.status_code != NOT_FOUND:
                raise
        else:
            raise AssertionError(f"{self.repository(path)}:{tag} is there")
        self.scene.settle()

    def has(self, path: str, image: LocalImage, tag: str = TAG) -> None:
        """Pull a whole image, every byte hashed, and wait for all that follows."""
        pulled = self.client().pull(self.repository(path), tag)
        assert (pulled.digest, pulled.manifests, pulled.blobs) == (image.digest, len(image.manifests), len(image.blobs))
        self.scene.settle()

    def requests(self) -> int:
        """Count what upstream was asked."""
        return len(self.scene.upstream.requests)

    def checks(self) -> int:
        return len(self.scene.runs("CheckFreshness"))

    def rules(self, limit: int = 5) -> str:
        host = self.scene.mirror.host
        seconds = int(CHECK_EVERY.total_seconds())
        return (
            f"version: 1\nupstreams: {{'{host}': {{plain_http: true}}}}\nmirrors: []\non_demand:\n"
            f"  - {{name: {self.rule}, upstream: '{host}/*', repository: '{self.prefix}/{{path}}',\n"
            f"     allow: ['library/*'], deny: ['library/secret*', '*:*-rc*'], daily_limit: {limit},\n"
            f"     check_every: {seconds}s, alert_after: 1h, expire_after: 30d}}\n"
        )


def puller_of(scene: Scene) -> Puller:
    """Make the one who pulls what only a rule of this scene may answer."""
    return Puller(scene, f"{PULLED}{scene.repository.rpartition('/')[2]}")


@contextmanager
def pulling(scene: Scene, limit: int = 5) -> Iterator[Puller]:
    """Let a rule on demand be in force, and no other."""
    puller = puller_of(scene)
    with scene.deployment.rules(puller.rules(limit), *FUNCTIONS):
        yield puller
