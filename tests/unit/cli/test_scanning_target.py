"""Rules that ask for scans are refused for a target that makes none."""

import pytest

from pullahead.cli.compare import require_scanning_target
from pullahead.errors import ConfigError
from pullahead.rules.load import load_rules
from pullahead.rules.model import Rules


def following(admit: str) -> Rules:
    text = f"version: 1\nmirrors:\n  - {{upstream: ghcr.io/a/b, repository: mirror/b, tags: ['1'], admit: {admit}}}\n"
    return load_rules(text, source="rules.yaml")


@pytest.mark.parametrize("admit", ["{scan: {}}", "{mode: report, scan: {}}"])
def test_scan_of_a_target_that_is_not_ecr_is_a_mistake(admit: str) -> None:
    with pytest.raises(ConfigError, match="only Amazon ECR scans images, and the target is registry"):
        require_scanning_target(following(admit), "registry.example.com")


@pytest.mark.parametrize("registry", [None, "123456789012.dkr.ecr.eu-west-1.amazonaws.com"])
def test_ecr_scans(registry: str | None) -> None:
    require_scanning_target(following("{scan: {}}"), registry)


@pytest.mark.parametrize("admit", ["{min_age: 3d}", "{min_age: 3d, scan: {block: []}}"])
def test_rules_that_ask_for_no_scan_may_have_any_target(admit: str) -> None:
    require_scanning_target(following(admit), "registry.example.com")
