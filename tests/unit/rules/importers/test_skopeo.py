"""The file of `skopeo sync` → our rules, and files of no supported tool."""

import pytest

from pullahead.rules.importers import ImportFileError, import_rules
from pullahead.rules.importers.result import ImportedMirror, ImportResult, TagEntry, write_rules
from pullahead.rules.load import load_rules
from pullahead.rules.problems import MAX_DOCUMENT_BYTES
from pullahead.rules.tag_patterns import PatternKind

DIGEST = "sha256:0000000000000000000000000000000011111111111111111111111111111111"

ECR = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
DIGEST = "sha256:0000000000000000000000000000000011111111111111111111111111111111"

# After the example of skopeo-sync(1).
REALISTIC = """\
registry.example.com:
  images:
    busybox: []
    redis:
      - "1.0"
      - "2.0"
      - sha256:0000000000000000000000000000000011111111111111111111111111111111
  images-by-tag-regex:
    nginx: ^1\\.13\\.[12]-alpine-perl$
  images-by-semver:
    alpine: ">= 3.12.0, < 4"
  credentials:
    username: john
    password: this is a secret
  tls-verify: true
  cert-dir: /home/john/certs
quay.io:
  tls-verify: false
  images:
    coreos/etcd: [latest]
"""


def left_out(found: ImportResult) -> str:
    return "\n".join(f"{left.where}: {left.message}" for left in found.left_out)


def test_realistic_file_is_imported() -> None:
    assert import_rules(REALISTIC, source="skopeo.yml").mirrors == [
        ImportedMirror("registry.example.com/busybox", "mirror/busybox", (TagEntry("*", PatternKind.GLOB),)),
        ImportedMirror(
            "registry.example.com/redis", "mirror/redis", (TagEntry("1.0"), TagEntry("2.0"), TagEntry(DIGEST))
        ),
        ImportedMirror(
            "registry.example.com/nginx",
            "mirror/nginx",
            (TagEntry(r"1\.13\.[12]-alpine-perl", PatternKind.REGEX),),
        ),
        ImportedMirror("registry.example.com/alpine", "mirror/alpine", (TagEntry(">=3.12.0 <4", PatternKind.SEMVER),)),
        ImportedMirror("quay.io/coreos/etcd", "mirror/coreos/etcd", (TagEntry("latest"),)),
    ]


@pytest.mark.parametrize(
    "expected",
    [
        "registry.example.com.credentials: credentials are never copied; put them into Secrets Manager",
        "registry.example.com.cert-dir: not supported",
        "quay.io.tls-verify: certificates are always verified",
    ],
)
def test_unsupported_key_is_reported(expected: str) -> None:
    assert expected in left_out(import_rules(REALISTIC, source="skopeo.yml"))


def test_no_credential_is_copied_or_shown() -> None:
    found = import_rules(REALISTIC, source="skopeo.yml")
    shown = write_rules(found, source="skopeo.yml") + left_out(found)
    assert "john" not in shown.replace("/home/john", "")
    assert "this is a secret" not in shown


@pytest.mark.parametrize(
    ("regex", "whole"),
    [
        ("1.*", ".*1.*.*"),
        ("^v1[0-9]", "v1[0-9].*"),
        ("-slim[0-9]$", ".*-slim[0-9]"),
        ("^a+$", "a+"),
        ("a+|b", ".*a+.*|.*b.*"),
        ("^a+|b$", "a+.*|.*b"),
        ("^(a+|b)c$", "(a+|b)c"),
    ],
)
def test_expression_that_matches_anywhere_becomes_one_of_the_whole_tag(regex: str, whole: str) -> None:
    (mirror,) = import_rules(f"quay.io: {{images-by-tag-regex: {{a/b: '{regex}'}}}}", source="skopeo.yml").mirrors
    assert mirror.tags == (TagEntry(whole, PatternKind.REGEX),)


def test_prefix_names_the_repositories() -> None:
    text = "quay.io: {images: {a/b: [v1]}}"
    names = [import_rules(text, source="s", prefix=prefix).mirrors[0].repository for prefix in ("team/x", "")]
    assert names == ["team/x/a/b", "a/b"]


def test_imported_rules_load() -> None:
    found = import_rules(REALISTIC, source="skopeo.yml")
    rules = load_rules(write_rules(found, source="skopeo.yml"), source="rules.yaml")
    patterns = {rule.repository: [pattern.text for pattern in rule.tags.patterns] for rule in rules.rules}
    assert patterns == {
        "mirror/busybox": ["*"],
        "mirror/redis": [],
        "mirror/nginx": [r"1\.13\.[12]-alpine-perl"],
        "mirror/alpine": [">=3.12.0 <4"],
        "mirror/coreos/etcd": [],
    }


def test_written_file_loads() -> None:
    found = import_rules('docker.io: {images: {alpine: ["3.20", latest]}}', source="skopeo.yml")
    rules = load_rules(write_rules(found, source="a\nfile"), source="rules.yaml")
    assert [str(mirror.key) for mirror in rules.mirrors] == [
        "mirror/library/alpine:3.20",
        "mirror/library/alpine:latest",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "neither a file of regsync"),
        ("- a\n", "neither a file of regsync"),
        ("version: 1\n", "neither a file of regsync"),
        ("sync: {}\nversion: 1\n", "neither a file of regsync"),
        ("a: 1\nb: [", r"file\.yml:2: invalid YAML: .* Look for a missing quote"),
        ("a: !!python/object/apply:os.system [ls]", r"file\.yml:1: invalid YAML"),
        ("#" * (MAX_DOCUMENT_BYTES + 1), "is larger than"),
    ],
)
def test_file_of_no_supported_tool_is_refused(text: str, said: str) -> None:
    with pytest.raises(ImportFileError, match=said) as refused:
        import_rules(text, source="file.yml")
    assert str(refused.value).startswith(("file.yml ", "file.yml:"))


def test_invalid_host_is_reported() -> None:
    found = import_rules("nohost: {images: {a/b: [v1]}}\nquay.io: {images: {a/b: [v1]}}", source="skopeo.yml")
    assert [mirror.upstream for mirror in found.mirrors] == ["quay.io/a/b"]
    assert "nohost: invalid reference 'nohost': it is not a host" in left_out(found)


def test_repositories_of_two_registries_with_one_name_are_reported_and_not_merged() -> None:
    found = import_rules("quay.io: {images: {a/b: [v1]}}\nghcr.io: {images: {a/b: [v2]}}\n", source="sync.yml")
    assert [(mirror.upstream, mirror.repository) for mirror in found.mirrors] == [("quay.io/a/b", "mirror/a/b")]
    assert [left.where for left in found.left_out] == ["ghcr.io.images.a/b"]
    assert "mirror/a/b already follows quay.io/a/b" in found.left_out[0].message


@pytest.mark.parametrize(
    ("text", "mirrors"),
    [
        ("version: 1\nsync:\ncreds:\ndefaults:", 0),
        (f"version: 1\nsync: [{{source: a/b, target: {ECR}/app, type: repository, tags: , interval: }}]", 1),
        ("ghcr.io:\nquay.io: {images: {a/b: [v1]}}", 1),
        ("quay.io: {images: {a/b:}, images-by-tag-regex:, images-by-semver:, credentials:}", 1),
    ],
)
def test_what_is_null_is_as_good_as_absent(text: str, mirrors: int) -> None:
    found = import_rules(text, source="file.yml")
    assert (len(found.mirrors), found.left_out) == (mirrors, [])


def test_digest_is_carried_over_and_what_is_none_is_reported() -> None:
    found = import_rules(f'quay.io: {{images: {{a/b: ["{DIGEST}", "sha256:12"]}}}}', source="skopeo.yml")
    assert left_out(found) == "quay.io.images.a/b: 'sha256:12' is neither a tag nor a digest of sha256"
    rules = load_rules(write_rules(found, source="skopeo.yml"), source="rules.yaml")
    assert [str(mirror.upstream) for mirror in rules.mirrors] == [f"quay.io/a/b@{DIGEST}"]
