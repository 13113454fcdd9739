"""Command lines that mean something, and those that must be refused with one line and exit code 2."""

from pathlib import Path

import pytest

from pullahead.cli.arguments import CopyArguments, InspectArguments, TagsArguments, parse_arguments
from pullahead.oci import Reference, Repository


def refusal(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Parse, which must fail as wrong usage, and return the one line that says why."""
    with pytest.raises(SystemExit) as exited:
        parse_arguments(arguments)
    written = capsys.readouterr()
    assert exited.value.code == 2
    assert written.out == ""
    assert written.err.startswith("pullahead: ")
    assert written.err.count("\n") == 1
    return written.err


def test_copy_loses_an_option() -> None:
    platforms = ["--platform", "linux/amd64", "--platform", "linux/arm/v7"]
    hosts = ["--insecure", "LOCALHOST:5000", "--insecure", "127.0.0.1:1"]
    rest = ["--ca", __file__, "--json", "--quiet"]
    parsed = parse_arguments(["copy", "alpine:3.20", "localhost:5000/a:1", *platforms, *hosts, *rest])
    assert isinstance(parsed, CopyArguments)
    assert parsed.source == Reference(Repository("docker.io", "library/alpine"), "3.20")
    assert parsed.target == Reference(Repository("localhost:5000", "a"), "1")
    assert parsed.platforms == ("linux/amd64", "linux/arm/v7")
    assert parsed.common == (frozenset({"localhost:5000", "127.0.0.1:1"}), Path(__file__), True, True)


def test_options_are_on_unless_asked_for() -> None:
    parsed = parse_arguments(["copy", "a", "b"])
    assert isinstance(parsed, CopyArguments)
    assert parsed.platforms == ()
    assert parsed.common == (frozenset(), None, False, False)


def test_tags_and_inspect_are_not_told_apart() -> None:
    assert isinstance(parse_arguments(["tags", "quay.io/team/app"]), TagsArguments)
    parsed = parse_arguments(["inspect", "quay.io/team/app", "--platform", "linux/amd64"])
    assert isinstance(parsed, InspectArguments)
    assert parsed.reference.tag == "latest"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "COMMAND"),
        (["move", "a", "b"], "invalid choice"),
        (["copy", "a"], "TARGET"),
        (["copy", "a", "b", "c"], "unrecognized"),
        (["copy", "a", "b", "--verbose"], "unrecognized"),
        (["copy", "https://ghcr.io/a", "b"], "no URL"),
        (["copy", "a", "B"], "lower case"),
        (["copy", "a", f"b@sha256:{'0' * 64}"], "digest is the source's"),
        (["copy", "a", "b", "--platform", "linux"], "no platform"),
        (["copy", "a", "b", "--platform", "linux/arm/v7/x"], "no platform"),
        (["copy", "a", "b", "--insecure", "http://localhost"], "no URL"),
        (["copy", "a", "b", "--insecure", "example"], "no host"),
        (["copy", "a", "b", "--ca", "/nowhere/ca.pem"], "no file"),
        (["tags", "a:1"], "without tag"),
        (["tags", f"a@sha256:{'0' * 64}"], "without tag"),
        (["tags", "a", "--platform", "linux/amd64"], "unrecognized"),
        (["inspect", ""], "empty"),
    ],
)
def test_wrong_usage_is_accepted(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert words in refusal(arguments, capsys)


def test_password_in_a_reference_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert "s3cr3t" not in refusal(["copy", "https://me:s3cr3t@ghcr.io/a", "b"], capsys)


def test_wrong_usage_steers_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert "\x1b" not in refusal(["copy", "a\x1b[2J", "b"], capsys)
    assert "\x1b" not in refusal(["\x1b[2J"], capsys)
    assert "\x1b" not in refusal(["copy", "a", "b", "--\x1b[2J"], capsys)
