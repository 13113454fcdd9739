"""The upstream HTTP client: how registries are read. Decides nothing about freshness or copying."""

from pullahead.registry.client import Timeouts, UpstreamRegistry

__all__ = ["Timeouts", "UpstreamRegistry"]
