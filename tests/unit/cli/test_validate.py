"""`pullahead validate`: every problem on stdout and exit code 1, or one line and 0; no AWS, no registry."""

import io
import sys
import tomllib
from pathlib import Path

import pytest

from pullahead.cli.main import parse_arguments
from pullahead.rules.file_format import schema_text
from pullahead.rules.problems import MAX_DOCUMENT_BYTES, too_large
from tests.unit.cli.conftest import Run

WRONG = "version: 1\nmirrors:\n  - {upstream: alpine, tags: [3.20]}\n  - {upstream: 'alpine:1', tags: ['1']}\n"
RIGHT = (
    "version: 1\ndefaults: {repository: 'mirror/{registry}/{path}'}\n"
    "mirrors: [{upstream: alpine, tags: ['3.20', latest, '3.*']}, {upstream: quay.io/a/*, tags: [v1]}]\n"
)


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    return tmp_path / "rules.yaml"


def validate(run: Run, *arguments: str) -> tuple[int, str, str]:
    ran = run("validate", *arguments, insecure=())
    return ran.code, ran.out, ran.err


def test_every_problem_is_written_with_file_and_line(run: Run, rules: Path) -> None:
    rules.write_text(WRONG)
    code, out, err = validate(run, str(rules))
    assert (code, err) == (1, "")
    assert out.splitlines() == [
        f"{rules}:3: mirrors[0].tags[0]: YAML reads '3.20' as a number, not as a string. Quote it: \"3.20\".",
        f'{rules}:4: mirrors[1].upstream: the tag does not belong here. Move it to tags: ["1"].',
    ]


def test_a_thousand_problems_are_all_written(run: Run, rules: Path) -> None:
    rules.write_text("version: 1\nmirrors:\n" + "  - 5\n" * 1000)
    code, out, _ = validate(run, str(rules))
    assert (code, len(out.splitlines())) == (1, 1000)


def test_json_document_lists_problems(run: Run, rules: Path) -> None:
    rules.write_text(WRONG)
    ran = run("validate", str(rules), "--json", insecure=())
    assert ran.code == 1
    assert ran.document["problems"][0] == {
        "line": 3,
        "path": "mirrors[0].tags[0]",
        "message": "YAML reads '3.20' as a number, not as a string",
        "hint": 'Quote it: "3.20".',
    }
    assert len(ran.document["problems"]) == 2


def test_valid_file_is_one_line_with_counts(run: Run, rules: Path) -> None:
    rules.write_text(RIGHT)
    assert validate(run, str(rules)) == (0, f"{rules}: valid (2 rules, 3 exact tags, 1 pattern)\n", "")
    assert validate(run, str(rules), "--quiet") == (0, "", "")
    ran = run("validate", str(rules), "--json", insecure=())
    nothing: dict[str, object] = {"parameters": {}, "notes": []}
    assert ran.document == {"problems": [], "rules": 2, "exact_tags": 3, "patterns": 1, **nothing}


def test_rule_that_works_in_one_account_only_is_noted(run: Run, rules: Path) -> None:
    host = "210987654321.dkr.ecr.eu-west-1.amazonaws.com"
    rules.write_text(f"version: 1\nmirrors: [{{upstream: {host}/team/app, tags: ['1'], repository: mirror/app}}]\n")
    code, out, err = validate(run, str(rules))
    assert (code, err) == (0, "")
    note = (
        f"{host}/team/app: without a role for {host} in `upstreams`, this works only if Pullahead is deployed in the "
        "account 210987654321; elsewhere it is skipped."
    )
    assert f"note: {note}" in out.splitlines()
    assert note in run("validate", str(rules), "--json", insecure=()).document["notes"]


def test_platform_that_may_be_misspelled_is_noted(run: Run, rules: Path) -> None:
    platforms = "[linux/amd46, linux/arm/v7, windows/amd64, lunix/amd64]"
    rules.write_text(
        f"version: 1\nmirrors: [{{upstream: alpine, tags: ['1'], repository: mirror/a, platforms: {platforms}}}]\n"
    )
    notes = [line for line in validate(run, str(rules))[1].splitlines() if line.startswith("note: ")]
    assert notes == [
        f"note: {name} is no known platform: check its spelling. A tag without it is not copied (BLOCKED)"
        for name in ("linux/amd46", "lunix/amd64")
    ]


def test_quiet_does_not_hide_problems(run: Run, rules: Path) -> None:
    rules.write_text(WRONG)
    code, out, _ = validate(run, str(rules), "--quiet")
    assert (code, len(out.splitlines())) == (1, 2)


@pytest.mark.parametrize(("text", "code"), [(RIGHT, 0), (WRONG, 1)])
def test_dash_reads_from_stdin(run: Run, monkeypatch: pytest.MonkeyPatch, text: str, code: int) -> None:
    monkeypatch.setitem(sys.__dict__, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    ended, out, _ = validate(run, "-")
    assert ended == code
    assert out.startswith("stdin:")


def test_missing_file_is_one_line(run: Run, rules: Path) -> None:
    assert validate(run, str(rules)) == (1, "", f"pullahead: {rules} cannot be read: No such file or directory\n")


@pytest.mark.parametrize(
    ("content", "line", "message"),
    [
        (b"version: 1\nmirrors: [\xff]\n", 2, "the file is not UTF-8. Save it as UTF-8."),
        (
            b"#" * (MAX_DOCUMENT_BYTES + 1),
            1,
            ". ".join(too_large()),
        ),
    ],
)
def test_content_that_cannot_be_read_is_a_problem(
    run: Run, rules: Path, content: bytes, line: int, message: str
) -> None:
    rules.write_bytes(content)
    assert validate(run, str(rules)) == (1, f"{rules}:{line}: {message}\n", "")


def test_byte_order_mark_is_ignored(run: Run, rules: Path) -> None:
    rules.write_text(RIGHT, encoding="utf-8-sig")
    assert validate(run, str(rules))[0] == 0


def test_schema_is_written(run: Run) -> None:
    assert validate(run, "--schema") == (0, schema_text(), "")


def test_default_is_the_file_of_the_layer() -> None:
    assert parse_arguments(["validate"]).file == "layers/rules/rules.yaml"
    parsed = parse_arguments(["validate", "a.yaml", "--json", "--quiet", "--schema"])
    assert (parsed.file, parsed.schema, parsed.json, parsed.quiet) == ("a.yaml", True, True, True)


def test_on_demand_rules_are_counted(run: Run, rules: Path) -> None:
    rule = '{name: hub, upstream: docker.io/*, repository: "mirror/hub/{path}", allow: ["*"]}'
    rules.write_text(f"version: 1\nmirrors: []\non_demand: [{rule}]\n")
    code, out, err = validate(run, str(rules))
    assert (code, err) == (0, "")
    assert out.startswith(f"{rules}: valid (1 rule, 0 exact tags, 0 patterns, 1 on-demand rule)\n")


NEEDING = """\
version: 1
upstreams:
  quay.io: {credentials: [{path: team/*, secret: robot}]}
  harbor.corp: {private_addresses: true}
mirrors:
  - {upstream: quay.io/other/app, tags: [v1], repository: team/app, check_every: 1m}
  - {upstream: harbor.corp/app, tags: [v1], repository: team/b}
  - {upstream: "10.0.0.5:5000/app", tags: [v1], repository: team/c}
  - {upstream: "registry.local/app", tags: [v1], repository: team/d}
  - {upstream: "169.254.169.254/app", tags: [v1], repository: team/e}
"""
SECRETS = "arn:aws:secretsmanager:*:*:secret:robot-??????,arn:aws:secretsmanager:*:*:secret:ecr-pullthroughcache/*"


def test_parameters_that_the_file_needs_are_items_of_samconfig(run: Run, rules: Path) -> None:
    rules.write_text(NEEDING)
    code, out, err = validate(run, str(rules))
    assert (code, err) == (0, "")
    heading, _, rest = out.partition("my-samconfig.toml:\n")
    assert heading.endswith("parameters that the stack needs for it, as in `parameter_overrides` of ")
    items = rest.partition("note: ")[0]
    assert tomllib.loads(f"items = [\n{items}]")["items"] == [
        "TargetRepositories=team/*",
        'CheckSchedule="rate(1 minute)"',
        f"UpstreamSecrets={SECRETS}",
    ]
    assert "# If these are reachable from a VPC only: harbor.corp\n" in items


def test_addresses_and_paths_that_will_not_do_are_noted(run: Run, rules: Path) -> None:
    rules.write_text(NEEDING)
    notes = [line for line in validate(run, str(rules))[1].splitlines() if line.startswith("note: ")]
    refused = "note: {} is {}, which is refused; if it is meant, write upstreams: {{{}: {{private_addresses: true}}}}"
    assert notes == [
        refused.format("10.0.0.5:5000", "a private address", '"10.0.0.5:5000"'),
        refused.format("registry.local", "a name of this machine or its network", '"registry.local"'),
        "note: 169.254.169.254 is a link-local address, to which Pullahead never connects",
        "note: quay.io/other/app is read anonymously: no `path` in the credentials of quay.io matches it",
    ]


def test_json_document_has_parameters_and_notes(run: Run, rules: Path) -> None:
    rules.write_text(NEEDING)
    document = run("validate", str(rules), "--json", insecure=()).document
    expected = {"TargetRepositories": "team/*", "CheckSchedule": "rate(1 minute)", "UpstreamSecrets": SECRETS}
    assert document["parameters"] == expected
    assert len(document["notes"]) == 4
