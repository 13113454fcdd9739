"""The upstream HTTP client: how registries are read. Decides nothing about freshness or copying."""

from pullahead.registry.client import UpstreamRegistry
from pullahead.registry.transport import Timeouts

__all__ = ["Timeouts", "UpstreamRegistry"]
