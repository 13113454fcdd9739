"""The rates of requests that registries publish, or that the rules set."""

from typing import NamedTuple

from pullahead.oci.reference import DOCKER_HUB


class Rate(NamedTuple):
    """How many requests a second all functions together send to a registry, after a burst; a command by itself."""

    per_second: float
    burst: int


PUBLISHED_RATES = {
    # Some 300 HEADs within eight minutes were seen to trip Docker Hub's abuse limit: 50 + 8 * 60 / 2 stay below.
    DOCKER_HUB: Rate(0.5, 50),
    "public.ecr.aws": Rate(1.0, 5),  # Amazon ECR Public user guide, "Service quotas": unauthenticated pulls
    "ghcr.io": Rate(20.0, 40),  # 2,000 a minute for all that one account does
    "quay.io": Rate(30.0, 30),  # Quay.io documentation, "Rate limits": some tens a second
}


def rate_of(host: str, requests_per_second: float | None) -> Rate | None:
    """Return the rate that the rules set for a host, or that it publishes; None: as fast as it answers."""
    if requests_per_second is None:
        return PUBLISHED_RATES.get(host)
    return Rate(requests_per_second, max(1, int(requests_per_second)))
