"""Several rules files, which are read as if they were one."""

from pathlib import Path

import pytest

from pullahead.errors import ConfigError
from pullahead.rules.load import MAX_NAMED_TAGS, load_rules, load_rules_files
from pullahead.rules.model import Rules, Source
from pullahead.rules.on_disk import MAX_FILES, read_rules_files
from pullahead.rules.problems import RulesError
from pullahead.rules.text import RulesText, fingerprint_of

ONE = 'version: 1\nmirrors:\n  - {upstream: ghcr.io/a/b, tags: ["1"], repository: mirror/b}\n'


def load(max_named_tags: int = MAX_NAMED_TAGS, **files: str) -> Rules:
    texts = [RulesText(f"rules/{name}.yaml", f"version: 1\n{text}") for name, text in files.items()]
    return load_rules_files(texts, max_named_tags=max_named_tags)


def problems(max_named_tags: int = MAX_NAMED_TAGS, **files: str) -> list[str]:
    with pytest.raises(RulesError) as refused:
        load(max_named_tags, **files)
    return str(refused.value).splitlines()


def test_files_say_the_same_as_one_with_all_of_it() -> None:
    several = load(
        a="mirrors: [{upstream: ghcr.io/a/b, tags: [x]}]\nignore: [old/*]",
        b="defaults: {repository: 'm/{path}', check_every: 1h}\nmirrors: []",
        c="mirrors: [{upstream: quay.io/a/c, tags: [y]}]\nupstreams: {quay.io: {credentials: s}}\nignore: [older/*]",
        d="mirrors: []\nupstreams: {ghcr.io: {credentials: t}}\nsources: {resource_tags: false}",
        e="mirrors: []\non_demand: [{name: hub, upstream: docker.io/*, allow: ['*'], repository: 'hub/{path}'}]",
    )
    one = load_rules(
        """version: 1
defaults: {repository: 'm/{path}', check_every: 1h}
upstreams: {quay.io: {credentials: s}, ghcr.io: {credentials: t}}
sources: {resource_tags: false}
ignore: [old/*, older/*]
mirrors: [{upstream: ghcr.io/a/b, tags: [x]}, {upstream: quay.io/a/c, tags: [y]}]
on_demand: [{name: hub, upstream: docker.io/*, allow: ['*'], repository: 'hub/{path}'}]
""",
        source="one.yaml",
    )
    assert (several.rules, several.digest, several.opted_out) == (one.rules, one.digest, one.opted_out)
    assert several.sources == {Source.FILE, Source.PULL_THROUGH_CACHE}
    assert {each.host for each in several.upstreams} == {"ghcr.io", "quay.io"}


def test_problems_name_their_files_and_lines() -> None:
    number, twice = "mirrors:\n  - {upstream: ghcr.io/a/b, tags: [3.20]}", "mirrors: []\nmirrors: []"
    found = problems(a=number, b=twice, c="mirrors: []")
    assert [line.split(": ")[0] for line in found] == ["rules/a.yaml:3", "rules/b.yaml:3"]
    found = problems(a=number, b=twice, c="mirrors: [")
    assert [line.split(": ")[0] for line in found] == ["rules/c.yaml:2"]  # what is no YAML hides what follows from it


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        (
            "mirrors:\n  - {upstream: ghcr.io/a/b, tags: [x], repository: m/n}",
            "mirrors: [{upstream: ghcr.io/a/c, tags: [x], repository: m/n}]",
            "rules/b.yaml:2: mirrors[0].tags[0]: m/n:x is already on line 3 of rules/a.yaml.",
        ),
        (
            "mirrors: [{name: n, upstream: ghcr.io/a/b, tags: [x]}]",
            "mirrors:\n\n  - {name: n, upstream: ghcr.io/a/c, tags: [x]}",
            "rules/b.yaml:4: mirrors[0].name: 'n' is already the name of the rule on line 2 of rules/a.yaml.",
        ),
        (
            "mirrors: [{upstream: ghcr.io/a/b, tags: ['*'], repository: m/n}]",
            "mirrors: [{upstream: ghcr.io/a/c, tags: ['*'], repository: m/n}]",
            "rules/b.yaml:2: mirrors[0].repository: m/n may get the same tag from ghcr.io/a/b, by the rule on line 2",
        ),
        (
            "mirrors: []\ndefaults: {check_every: 1h}",
            "mirrors: []\n\ndefaults: {check_every: 2h}",
            "rules/b.yaml:4: defaults: defaults are already on line 3 of rules/a.yaml, for the rules of all files.",
        ),
        (
            "mirrors: []\nsources: {resource_tags: false}",
            "mirrors: []\nsources: {resource_tags: false}",
            "rules/b.yaml:3: sources: sources are already on line 3 of rules/a.yaml, for the rules of all files.",
        ),
        (
            "mirrors: []\nupstreams: {docker.io: {credentials: s}}",
            "mirrors: []\nupstreams: {docker.io: {credentials: s}}",
            "rules/b.yaml:3: upstreams['docker.io']: docker.io already has settings on line 3 of rules/a.yaml.",
        ),
    ],
)
def test_what_two_files_say_is_found(first: str, second: str, said: str) -> None:
    (found,) = problems(a=first, b=second)
    assert found.startswith(said)


def test_empty_file_among_others_is_named() -> None:
    with pytest.raises(RulesError, match=r"rules/b.yaml:1: the file is empty"):
        load_rules_files([RulesText("rules/a.yaml", ONE), RulesText("rules/b.yaml", "")])


def test_more_tags_than_a_stack_mirrors_are_refused() -> None:
    named = ", ".join(f"t{number}" for number in range(1000))
    files = {
        "a": f"mirrors: [{{upstream: ghcr.io/a/b, tags: [{named}]}}]",
        "b": "mirrors: [{upstream: ghcr.io/a/c, tags: [x]}]",
    }
    assert len(load(1001, **files).mirrors) == 1001
    (found,) = problems(1000, **files)
    assert "1,001 tags are named, and one stack mirrors at most 1,000 that are. Split the rules" in found
    assert MAX_NAMED_TAGS == 200_000


class TestOnDisk:
    def test_folder_is_read_with_its_subfolders(self, tmp_path: Path) -> None:
        for name in ("b.yaml", "a/c.yml", ".hidden.yaml", ".git/d.yaml", "README.md"):
            file = tmp_path / "rules" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(name)
        read = read_rules_files(tmp_path / "rules", name="my-rules")
        assert read == (RulesText("my-rules/a/c.yml", "a/c.yml"), RulesText("my-rules/b.yaml", "b.yaml"))

    def test_folder_without_rules_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"has no rules file\. Name the files"):
            read_rules_files(tmp_path)

    def test_too_many_files_are_refused(self, tmp_path: Path) -> None:
        for number in range(MAX_FILES + 1):
            (tmp_path / f"{number}.yaml").touch()
        with pytest.raises(ConfigError, match="has 1,001 rules files, and at most 1,000 are read"):
            read_rules_files(tmp_path)

    def test_file_that_is_no_text_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "a.yaml").write_text(ONE)
        (tmp_path / "b.yaml").write_bytes(b"a: 1\n\xff")
        with pytest.raises(RulesError, match=r"b\.yaml:2: the file is not UTF-8"):
            read_rules_files(tmp_path)


def test_fingerprint_is_of_what_files_say_and_not_of_where_they_are() -> None:
    first, second = RulesText("a", "x"), RulesText("b", "yz")
    assert fingerprint_of([first, second]) == fingerprint_of([RulesText("c", "x"), RulesText("d", "yz")])
    assert len({fingerprint_of(each) for each in ([first], [second], [first, second], [RulesText("a", "xyz")])}) == 4
