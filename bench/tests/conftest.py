"""Registries over TLS with an authority that the process of the tests trusts."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.authority import Authority, make_authority, trusted
from bench.copies import Stage
from bench.servers import Registries, find_distribution


@pytest.fixture
def authority(tmp_path: Path) -> Iterator[Authority]:
    made = make_authority(tmp_path / "authority")
    with trusted(made):
        yield made


@pytest.fixture
def stage(tmp_path: Path, authority: Authority) -> Stage:
    """Where a case may take place; whoever runs a registry on it needs docker-registry."""
    return Stage(tmp_path, Registries(find_distribution(), authority), 1, lambda _: None)
