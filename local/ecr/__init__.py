"""A strict Amazon ECR for one machine, on top of moto's server: it refuses what ECR refuses."""

from local.ecr.responses import install
from local.ecr.strict import StrictEcr

__all__ = ["StrictEcr", "install"]
