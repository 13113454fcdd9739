"""All facts, by section."""

from typing import Final

from tests.live.fact import Fact, Section
from tests.live.facts import (
    docker_endpoint,
    events,
    images,
    layers,
    permissions,
    pull_through_cache,
    referrers,
    refusals,
    stack,
)

SECTIONS: Final[tuple[Section, ...]] = (
    layers.SECTION,
    docker_endpoint.SECTION,
    images.SECTION,
    referrers.SECTION,
    pull_through_cache.SECTION,
    events.SECTION,
    refusals.SECTION,
    stack.SECTION,
    permissions.SECTION,
)


def all_facts() -> list[Fact]:
    """List the facts in the order of their page."""
    return [fact for section in SECTIONS for fact in section.facts]
