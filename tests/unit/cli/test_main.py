"""The command line: which command runs, wrong usage in one line with exit code 2, help, version and exit codes."""

import json
from argparse import Namespace
from pathlib import Path

import pytest

import pullahead
from pullahead.cli.completion import CommandNode, node_of
from pullahead.cli.main import COMMANDS, main, make_parser, parse_arguments, run_command
from pullahead.cli.options import RegistryOptions, UsageError
from pullahead.errors import AccessDeniedError, ConfigError, NotFoundError, RegistryUnavailableError, Side
from pullahead.oci import Reference, Repository


def denied(side: Side) -> AccessDeniedError:
    return AccessDeniedError("access denied", operation="HEAD", side=side, reference="a:1")


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


def shown(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Run a command line that only shows something, and return that."""
    with pytest.raises(SystemExit) as exited:
        main(arguments)
    assert exited.value.code == 0
    return capsys.readouterr().out


def test_every_option_of_copy_is_parsed() -> None:
    platforms = ["--platform", "linux/amd64", "--platform", "linux/arm/v7"]
    hosts = ["--insecure", "LOCALHOST:5000", "--insecure", "127.0.0.1:1"]
    rest = ["--ca", __file__, "--token-host", "auth.example", "--json", "--quiet"]
    parsed = parse_arguments(["copy", "alpine:3.20", "localhost:5000/a:1", *platforms, *hosts, *rest])
    assert parsed.source == Reference(Repository("docker.io", "library/alpine"), "3.20")
    assert parsed.target == Reference(Repository("localhost:5000", "a"), "1")
    assert parsed.platform == ["linux/amd64", "linux/arm/v7"]
    insecure, token_hosts = frozenset({"localhost:5000", "127.0.0.1:1"}), frozenset({"auth.example"})
    assert RegistryOptions.of(parsed) == (insecure, Path(__file__), token_hosts)
    assert (parsed.json, parsed.quiet) == (True, True)


@pytest.mark.parametrize(
    ("written", "platforms"),
    [
        (["linux/amd64,linux/arm64"], ["linux/amd64", "linux/arm64"]),
        (["linux/amd64, linux/arm/v7", "linux/s390x"], ["linux/amd64", "linux/arm/v7", "linux/s390x"]),
        (["linux/x86_64"], ["linux/amd64"]),
        (["arm64"], ["linux/arm64"]),
        (["linux/arm64/v8"], ["linux/arm64/v8"]),
    ],
)
def test_platforms_are_read_as_docker_reads_them(written: list[str], platforms: list[str]) -> None:
    options = [option for each in written for option in ("--platform", each)]
    assert parse_arguments(["copy", "a", "b", *options]).platform == platforms


def test_options_of_copy_are_off_by_default() -> None:
    parsed = parse_arguments(["copy", "a", "b"])
    assert RegistryOptions.of(parsed) == (frozenset(), None, frozenset())
    assert (parsed.platform, parsed.foreign_layers, parsed.json, parsed.quiet) == ([], False, False, False)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "COMMAND"),
        (["move", "a", "b"], "invalid choice"),
        (["copy", "a"], "TARGET"),
        (["copy", "a", "b", "c"], "unrecognized"),
        (["copy", "a", "b", "--verbose"], "unrecognized"),
        (["copy", "a", "b", "--plat", "linux/amd64"], "unrecognized"),
        (["copy", "https://ghcr.io/a", "b"], "not a URL"),
        (["copy", "a", "B"], "lower case"),
        (["copy", "a", f"b@sha256:{'0' * 64}"], "must be a tag"),
        (["copy", "a", "b", "--platform", "linux"], "invalid platform"),
        (["copy", "a", "b", "--platform", "linux/arm/v7/x"], "invalid platform"),
        (["copy", "a", "b", "--platform", "linux/amd64,"], "invalid platform"),
        (["copy", "a", "b", "--insecure", "http://localhost"], "not a URL"),
        (["copy", "a", "b", "--insecure", "example"], "not a host"),
        (["copy", "a", "b", "--ca", "/nowhere/ca.pem"], "no such file"),
        (["copy", "a", "b", "--ca", "/"], "'/' is a folder, not a file"),
        (["tags", "a:1"], "no tag"),
        (["tags", f"a@sha256:{'0' * 64}"], "no tag"),
        (["tags", "a", "--platform", "linux/amd64"], "unrecognized"),
        (["inspect", ""], "empty"),
        (["help", "move"], "invalid choice"),
        (["completion", "tcsh"], "invalid choice"),
    ],
)
def test_wrong_usage_is_refused_with_exit_code_two(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert words in refusal(arguments, capsys)


def test_password_in_a_reference_is_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert "s3cr3t" not in refusal(["copy", "https://me:s3cr3t@ghcr.io/a", "b"], capsys)


def test_control_characters_in_wrong_usage_are_removed(capsys: pytest.CaptureFixture[str]) -> None:
    assert "\x1b" not in refusal(["copy", "a\x1b[2J", "b"], capsys)
    assert "\x1b" not in refusal(["\x1b[2J"], capsys)
    assert "\x1b" not in refusal(["copy", "a", "b", "--\x1b[2J"], capsys)


def test_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(["--version"], capsys) == f"pullahead {pullahead.__version__}\n"


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    listed = shown(["help"], capsys)
    assert listed == shown(["--help"], capsys)
    assert all(f"    {command.name} " in listed for command in COMMANDS)


@pytest.mark.parametrize("names", [["copy"], ["resume"], ["dead-letters"], ["dead-letters", "redrive"]])
def test_help_of_a_command_is_that_of_its_own_option(names: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(["help", *names], capsys) == shown([*names, "--help"], capsys)


def test_help_breaks_no_name_at_a_hyphen(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for command in COMMANDS:
        lines = shown(["help", command.name], capsys).splitlines()
        assert [line for line in lines if line.endswith("-")] == [], command.name


def test_only_questions_about_staleness_end_with_three(capsys: pytest.CaptureFixture[str]) -> None:
    footers = {command.name: shown(["help", command.name], capsys) for command in COMMANDS}
    assert all("\n  0    Success, also when there is nothing to do\n" in footer for footer in footers.values())
    assert {name for name, footer in footers.items() if "\n  3    " in footer} == {"plan", "check", "status"}


def test_every_command_and_argument_has_help() -> None:
    def missing(node: CommandNode) -> list[str]:
        arguments = [
            f"{node.words} {argument.value or argument.flags}" for argument in node.arguments if not argument.help
        ]
        below = [text for child in node.children for text in missing(child)]
        return [*([] if node.summary else [node.words]), *arguments, *below]

    assert missing(node_of(make_parser(), summary="The program")) == []


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (OSError(5, "Input/output error"), 1, "OSError: Input/output error"),
        (ConfigError("it is wrong"), 1, "it is wrong"),
        (UsageError("use --yes"), 2, "use --yes"),
        (denied(Side.UPSTREAM), 1, "HEAD of a:1 at the source failed: access denied."),
        (denied(Side.TARGET), 1, "HEAD of a:1 at the target failed: access denied."),
        (
            NotFoundError("not found", operation="HEAD", side=Side.UPSTREAM, reference="a:1", status=404),
            1,
            "HEAD of a:1 at the source failed: not found (HTTP 404). Check the name.",
        ),
        (
            RegistryUnavailableError("connection refused", operation="HEAD", side=Side.UPSTREAM, reference="a:1"),
            1,
            "HEAD of a:1 at the source failed: connection refused. Check the host, its port and the network.",
        ),
        (
            RegistryUnavailableError("bad", operation="HEAD", side=Side.TARGET, reference="a:1", status=500),
            1,
            "HEAD of a:1 at the target failed: bad (HTTP 500).",
        ),
    ],
)
def test_error_of_a_command_is_one_line_and_an_exit_code(
    error: Exception, code: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: Namespace) -> int:
        raise error

    assert run_command(Namespace(run=fail, command="copy")) == code
    assert capsys.readouterr() == ("", f"pullahead: {line}\n")


def document_of(error: Exception, capsys: pytest.CaptureFixture[str], command: str = "copy") -> dict[str, object]:
    """Run a command with --json that fails, and return the document of its failure."""

    def fail(_: Namespace) -> int:
        raise error

    run_command(Namespace(run=fail, command=command, json=True))
    document = json.loads(capsys.readouterr().out)
    assert list(document) == ["error"]
    found: dict[str, object] = document["error"]
    return found


def test_error_of_a_registry_is_a_document_with_json(capsys: pytest.CaptureFixture[str]) -> None:
    error = NotFoundError(
        "gone",
        operation="HEAD",
        side=Side.UPSTREAM,
        reference="a:1",
        status=404,
        advice="Look.",
        code="MANIFEST_UNKNOWN",
    )
    assert document_of(error, capsys) == {
        "kind": "NotFoundError",
        "message": "HEAD of a:1 at the source failed: gone (HTTP 404). Look.",
        "operation": "HEAD",
        "side": "source",
        "reference": "a:1",
        "cause": "gone",
        "status": 404,
        "code": "MANIFEST_UNKNOWN",
        "sent": None,
        "tries": 1,
        "advice": "Look.",
        "retryable": False,
    }


def test_any_other_error_is_a_document_with_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert document_of(ConfigError("it is wrong"), capsys) == {"kind": "ConfigError", "message": "it is wrong"}
    assert document_of(UsageError("use --yes"), capsys) == {"kind": "UsageError", "message": "use --yes"}
    assert document_of(OSError(5, "Input/output error"), capsys)["message"] == "OSError: Input/output error"


def test_problems_of_rules_are_a_line_each_and_a_document_with_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text("version: 1\nmirrors:\n  - {upstream: alpine, tags: [3.20]}\n  - 5\n")
    assert main(["check", str(file), "--json"]) == 1
    written = capsys.readouterr()
    lines = written.err.splitlines()
    assert [line.partition(": mirrors")[0] for line in lines] == [f"pullahead: {file}:3", f"pullahead: {file}:4"]
    error = json.loads(written.out)["error"]
    assert (error["kind"], [problem["line"] for problem in error["problems"]]) == ("RulesError", [3, 4])
    assert error["message"].splitlines() == [line.removeprefix("pullahead: ") for line in lines]


@pytest.mark.parametrize(
    "arguments", [["copy", "a", "--json"], ["--json"], ["dead-letters", "redrive", "--jsom", "--json"]]
)
def test_wrong_usage_is_a_document_with_json(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exited:
        main(arguments)
    assert exited.value.code == 2
    written = capsys.readouterr()
    error = json.loads(written.out)["error"]
    assert (error["kind"], f"pullahead: {error['message']}\n") == ("UsageError", written.err)
