"""Hosts of Amazon ECR's private registries, each of which is one account in one Region. Pure.

Source: Amazon ECR user guide, "Private registries".
"""

import re
from typing import NamedTuple

_HOST = re.compile(
    r"(?P<account>[0-9]{12})\.dkr[.-]ecr(?:-fips)?\.(?P<region>[a-z0-9-]+)\."
    r"(?:amazonaws\.com(?:\.cn)?|on\.(?:aws|amazonwebservices\.com\.cn))"
)


class EcrRegistry(NamedTuple):
    """The private registry of an account in a Region."""

    account: str
    region: str


def parse_ecr_host(host: str) -> EcrRegistry | None:
    """Parse the host of a private registry of ECR; None for any other host."""
    found = _HOST.fullmatch(host)
    return None if found is None else EcrRegistry(found["account"], found["region"])
