"""Who trusts the bench's authority: whoever is told to, by the strictest rules, and nobody else."""

import os
import ssl
from pathlib import Path

import pytest
import requests

from bench.authority import Authority, environment_of_tools, make_authority, trusted
from bench.servers import bench_server

FROM_THE_NETWORK = {"REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "AWS_CA_BUNDLE"}


def test_server_is_trusted_by_the_strict_rules_of_python(authority: Authority, tmp_path: Path) -> None:
    with bench_server("bench.discarding_registry", authority.shown, tmp_path / "log") as host:
        context = ssl.create_default_context(cafile=authority.ca)
        address, _, port = host.partition(":")
        assert context.verify_flags & ssl.VERIFY_X509_STRICT or ssl.OPENSSL_VERSION_INFO < (3,)
        assert ssl.get_server_certificate((address, int(port)), ca_certs=str(authority.bundle))


def test_server_is_refused_by_whoever_was_not_told(authority: Authority, tmp_path: Path) -> None:
    other = make_authority(tmp_path / "other")
    with bench_server("bench.discarding_registry", authority.shown, tmp_path / "log") as host:
        assert requests.get(f"https://{host}/v2/", timeout=10).status_code == 200
        with pytest.raises(requests.exceptions.SSLError):
            requests.get(f"https://{host}/v2/", timeout=10, verify=str(other.ca))


def test_tools_find_all_that_the_machine_trusts_and_the_authority(authority: Authority) -> None:
    bundle = Path(os.environ["SSL_CERT_FILE"]).read_text()

    assert bundle.endswith(authority.ca.read_text())
    assert bundle.count("BEGIN CERTIFICATE") > 50


def test_tools_are_told_in_one_way_only(authority: Authority) -> None:
    assert os.environ.keys() >= FROM_THE_NETWORK
    told = environment_of_tools(os.environ)

    assert not told.keys() & FROM_THE_NETWORK
    assert told["SSL_CERT_FILE"] == str(authority.bundle)


def test_trust_ends_with_its_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/etc/mine.pem")
    monkeypatch.setenv("SSL_CERT_DIR", "/etc/mine")
    before = dict(os.environ)
    with trusted(make_authority(tmp_path)):
        assert os.environ["SSL_CERT_FILE"] != "/etc/mine.pem"
        assert "SSL_CERT_DIR" not in os.environ

    assert dict(os.environ) == before
