"""The account's ECR in another Region, as the upstream of a scene, or as what is replicated into it. Asserts nothing.

Its name leads nowhere on this machine, so the functions reach it by a proxy, as in a network that has one.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Final

import boto3

from local.aws import ACCESS_KEY, ACCOUNT_ID, SECRET_KEY
from local.aws import REGION as HOME
from local.demo.client import PlainClient
from local.ecr.identity import registry_host
from local.images import LocalImage
from tests.fakes.tunnel import tunnel_to
from tests.scenarios.scene import Scene

REGION: Final = "us-east-1"
HOST: Final = registry_host(REGION)
_CONNECT: Final = ("CheckFreshness", "PlanCopy", "CopyBlobs", "VerifyImage")


class OtherRegion:
    """The registry in the other Region, and what it was asked."""

    def __init__(self, scene: Scene) -> None:
        self.ecr = scene.ecr.open_region(REGION)
        self._url = scene.aws.url
        session = boto3.Session(ACCESS_KEY, SECRET_KEY, region_name=REGION)
        self._client = session.client("ecr", endpoint_url=scene.aws.url)

    def create(self, repository: str) -> None:
        """Create a repository."""
        self._client.create_repository(repositoryName=repository)

    def push(self, image: LocalImage, repository: str, tag: str) -> None:
        """Push an image to a repository."""
        token = self._client.get_authorization_token()["authorizationData"][0]["authorizationToken"]
        PlainClient(f"http://{HOST}", token, proxy=self._url).push(image, repository, tag)

    def replicate(self, prefix: str) -> None:
        """Replicate repositories, and deletions in them, into the Region of the stack."""
        rule: Any = {
            "destinations": [{"region": HOME, "registryId": ACCOUNT_ID}],
            "repositoryFilters": [{"filter": prefix, "filterType": "PREFIX_MATCH"}],
            "deleteReplication": {"enabled": True},
        }
        self._client.put_replication_configuration(replicationConfiguration={"rules": [rule]})

    def delete(self, repository: str, tag: str) -> None:
        """Delete a tag."""
        self._client.batch_delete_image(repositoryName=repository, imageIds=[{"imageTag": tag}])

    @property
    def upstreams(self) -> str:
        """The settings that the rules need on this machine, where nothing has TLS."""
        blobs = self._url.replace("127.0.0.1", "localhost").removeprefix("http://")
        return f"  {HOST}: {{plain_http: true}}\n  {blobs}: {{plain_http: true}}\n"


@contextmanager
def other_region(scene: Scene) -> Iterator[OtherRegion]:
    """Let the functions that connect to upstreams reach the registry in the other Region."""
    with tunnel_to(scene.aws.url.removeprefix("http://")) as (proxy, _), ExitStack() as stack:
        variables = {"HTTP_PROXY": f"http://{proxy}", "NO_PROXY": "127.0.0.1,localhost"}
        for name in _CONNECT:
            stack.enter_context(scene.deployment.variables(name, **variables))
        yield OtherRegion(scene)
