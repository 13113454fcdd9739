"""What the two ends of a command trust."""

from pathlib import Path

import pytest

from local.images import make_image
from local.registry import FakeRegistry
from pullahead.cli.options import RegistryOptions
from pullahead.cli.registries import Registries, ca_file
from pullahead.errors import ConfigError, RateLimitedError


def test_certificates_of_the_command_line_take_precedence() -> None:
    environment = {"SSL_CERT_FILE": "/environment.pem"}
    assert ca_file(Path("/named.pem"), environment) == Path("/named.pem")
    assert ca_file(None, environment) == Path("/environment.pem")
    assert ca_file(None, {"SSL_CERT_FILE": ""}) is None


def test_file_without_certificates_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    path.write_text("nothing\n")
    with pytest.raises(ConfigError, match="no certificates"):
        Registries(RegistryOptions(ca=path))


def test_last_request_of_a_rate_limit_is_used() -> None:
    image = make_image([b"layer"], seed=1)
    with FakeRegistry() as registry:
        registry.push(image, "app", "1.0")
        said = {"ratelimit-limit": "100;w=21600", "ratelimit-remaining": "1;w=21600"}
        registry.fail("GET", "/manifests/", 503, headers=said)
        upstream = Registries(RegistryOptions(frozenset({registry.host}))).upstream()
        assert upstream.get_manifest(registry.reference("app", "1.0")) == image.root
        with pytest.raises(RateLimitedError, match=r"0 of .* are left"):
            upstream.get_manifest(registry.reference("app", "1.0"))


def test_missing_file_of_certificates_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "nowhere.pem"))
    with pytest.raises(ConfigError, match="No such file"):
        Registries(RegistryOptions())
