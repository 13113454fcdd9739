"""Completion scripts: bash runs its own; those of zsh and fish name every command and option."""

import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pullahead.cli.completion import CommandNode, node_of
from pullahead.cli.main import main, make_parser

# Tell bash that TAB was pressed after these words, and write what it would offer.
PRESS_TAB = """
. {script}
COMP_WORDS=({words})
COMP_CWORD=$(({count} - 1))
_pullahead
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.fixture
def script(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """The script for bash, in a folder with one other file."""
    assert main(["completion", "bash"]) == 0
    written = tmp_path / "pullahead.bash"
    written.write_text(capsys.readouterr().out)
    (tmp_path / "my rules.yaml").touch()
    return written


def offered(script: Path, *words: str) -> list[str]:
    program = PRESS_TAB.format(script=shlex.quote(str(script)), words=shlex.join(words), count=len(words))
    ran = subprocess.run(
        ["bash", "--norc", "-c", program], cwd=script.parent, capture_output=True, text=True, timeout=30, check=True
    )
    assert ran.stderr == ""
    return [line for line in ran.stdout.splitlines() if line]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["co"], ["copy", "completion"]),
        (["--v"], ["--version"]),
        (["copy", "--pl"], ["--platform"]),
        (["copy", "check", "sync", "--pl"], ["--platform"]),  # names of other commands as arguments
        (["copy", "--platform", ""], []),
        (["copy", "--ca", "my"], ["my rules.yaml"]),
        (["validate", "my"], ["my rules.yaml"]),
        (["dead-letters", "re"], ["redrive"]),
        (["dead-letters", "redrive", "--f"], ["--force"]),
        (["dead-letters", "drop", "--f"], []),
        (["--json", "check", "--on"], ["--only"]),
        (["help", "st"], ["status"]),
        (["completion", ""], ["bash", "zsh", "fish", "--help"]),
    ],
)
def test_bash_offers_what_may_follow(script: Path, words: list[str], expected: list[str]) -> None:
    assert offered(script, "pullahead", *words) == expected


def nodes(node: CommandNode) -> Iterator[CommandNode]:
    yield node
    for child in node.children:
        yield from nodes(child)


def test_zsh_script_has_a_function_for_each_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "zsh"]) == 0
    script = capsys.readouterr().out
    assert script.startswith("#compdef pullahead\n")
    for node in nodes(node_of(make_parser())):
        _, _, function = script.partition(f"\n{'_'.join(('_pullahead', *node.path))}() {{\n")
        body = function.partition("\n}\n")[0]
        assert all(f"{flag}[" in body for option in node.options for flag in option.flags)
        assert all(f"'{child.path[-1]}:" in body for child in node.children)


def test_fish_script_has_a_line_for_each_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "fish"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for node in nodes(node_of(make_parser())):
        at = f"complete -c pullahead -n '{f'__pullahead_at {node.words}'.rstrip()}'"
        of_node = [line for line in lines if line.startswith(f"{at} ")]
        flags = [flag for option in node.options for flag in option.flags if flag.startswith("--")]
        assert all(any(f" -l {flag[2:]} " in line for line in of_node) for flag in flags)
        assert all(any(line.startswith(f"{at} -a {child.path[-1]} ") for line in of_node) for child in node.children)
