"""Hosts of private ECR registries: whose account and which Region one is.

Source: Amazon ECR user guide, "Private registries".
"""

import re
from typing import NamedTuple

_HOST = re.compile(
    r"(?P<account>[0-9]{12})\.dkr[.-]ecr(?:-fips)?\.(?P<region>[a-z0-9-]+)\."
    r"(?:amazonaws\.com(?:\.cn)?|on\.(?:aws|amazonwebservices\.com\.cn))"
)


class EcrHost(NamedTuple):
    """The AWS account and Region of a private ECR registry."""

    account: str
    region: str


def parse_ecr_host(host: str) -> EcrHost | None:
    """Read the account and Region of a private ECR registry; None for another host."""
    found = _HOST.fullmatch(host)
    return None if found is None else EcrHost(found["account"], found["region"])
