"""`pullahead completion`: completion scripts for bash, zsh and fish, made from the parser of the command line."""

import argparse
from collections.abc import Iterator
from typing import Final, NamedTuple

from pullahead.cli.options import describe
from pullahead.cli.output import DONE, write_text

_FILE: Final = "FILE"  # arguments with this name are completed with files


class Argument(NamedTuple):
    """An option, or a positional argument (without flags). `value` names what it takes, if anything."""

    flags: tuple[str, ...]
    help: str
    value: str
    choices: tuple[str, ...]
    is_repeatable: bool


class CommandNode(NamedTuple):
    """The program, a command or an action: the words that lead to it, and what may follow."""

    path: tuple[str, ...]
    summary: str
    arguments: tuple[Argument, ...]
    children: "tuple[CommandNode, ...]"

    @property
    def words(self) -> str:
        """The words that lead to it."""
        return " ".join(self.path)

    @property
    def options(self) -> tuple[Argument, ...]:
        """The arguments that have flags."""
        return tuple(argument for argument in self.arguments if argument.flags)

    @property
    def candidates(self) -> tuple[str, ...]:
        """Everything that may be typed next and is known beforehand."""
        flags = (flag for option in self.options for flag in option.flags if flag.startswith("--"))
        choices = (choice for argument in self.arguments if not argument.flags for choice in argument.choices)
        return (*(child.path[-1] for child in self.children), *choices, *flags)

    @property
    def takes_files(self) -> bool:
        """Whether a positional argument is a file."""
        return any(not argument.flags and argument.value == _FILE for argument in self.arguments)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    describe(
        parser,
        "Write a completion script to stdout.",
        "completion bash > ~/.local/share/bash-completion/completions/pullahead",
        'completion zsh > "${fpath[1]}/_pullahead"',
        "completion fish > ~/.config/fish/completions/pullahead.fish",
    )
    parser.add_argument("shell", metavar="SHELL", choices=tuple(_SCRIPTS), help="bash, zsh or fish")


def run(arguments: argparse.Namespace) -> int:
    """Write the script."""
    from pullahead.cli.main import make_parser  # noqa: PLC0415 - which imports every command

    write_text(_SCRIPTS[arguments.shell](node_of(make_parser())))
    return DONE


def node_of(parser: argparse.ArgumentParser, path: tuple[str, ...] = (), summary: str = "") -> CommandNode:
    """Read what a parser accepts."""
    arguments: list[Argument] = []
    children: list[CommandNode] = []
    for action in parser._actions:  # noqa: SLF001 - argparse offers no other way
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            summaries = {choice.dest: choice.help or "" for choice in action._get_subactions()}  # noqa: SLF001
            children.extend(
                node_of(child, (*path, name), summaries.get(name, "")) for name, child in action.choices.items()
            )
        else:
            metavar = action.metavar if isinstance(action.metavar, str) else action.dest
            value = "" if action.nargs == 0 else metavar
            choices = tuple(action.choices or ())
            is_repeatable = isinstance(action, argparse._AppendAction) or action.nargs == "*"  # noqa: SLF001
            arguments.append(Argument(tuple(action.option_strings), action.help or "", value, choices, is_repeatable))
    return CommandNode(path, summary, tuple(arguments), tuple(children))


def _nodes(node: CommandNode) -> Iterator[CommandNode]:
    yield node
    for child in node.children:
        yield from _nodes(child)


def _bash(program: CommandNode) -> str:
    nodes = list(_nodes(program))
    paths = "|".join(f'"{node.words}"' for node in nodes if node.path)
    file_options = [f'"{node.words} {flag}"' for node in nodes for flag in _flags(node, _FILE)]
    other_options = [f'"{node.words} {flag}"' for node in nodes for flag in _flags(node)]
    candidates = "\n".join(f'        "{node.words}") words="{" ".join(node.candidates)}" ;;' for node in nodes)
    files = "|".join(f'"{node.words}"' for node in nodes if node.takes_files)
    return f"""\
# bash completion for pullahead
_pullahead_files() {{
    compopt -o filenames 2>/dev/null
    while IFS= read -r each; do COMPREPLY+=("$each"); done < <(compgen -f -- "$1")
}}

_pullahead() {{
    local current="${{COMP_WORDS[COMP_CWORD]}}" previous="${{COMP_WORDS[COMP_CWORD-1]}}" path="" words="" each
    COMPREPLY=()
    for each in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
        case "${{path:+$path }}$each" in
        {paths}) path="${{path:+$path }}$each" ;;
        esac
    done
    case "$path $previous" in
        {"|".join(file_options)}) _pullahead_files "$current"; return ;;
        {"|".join(other_options)}) return ;;
    esac
    case "$path" in
{candidates}
    esac
    while IFS= read -r each; do COMPREPLY+=("$each"); done < <(compgen -W "$words" -- "$current")
    case "$path" in
        {files}) if [ "${{current:0:1}}" != - ]; then _pullahead_files "$current"; fi ;;
    esac
}}

complete -F _pullahead pullahead"""


def _flags(node: CommandNode, value: str = "") -> Iterator[str]:
    """List the flags of options that take a value, and which: files, or (by default) all others."""
    for option in node.options:
        if option.value and (option.value == _FILE) is (value == _FILE):
            yield from option.flags


def _zsh(program: CommandNode) -> str:
    functions = "\n\n".join(_zsh_function(node) for node in _nodes(program))
    return f"""\
#compdef pullahead
# zsh completion for pullahead
{functions}

if [ "$funcstack[1]" = _pullahead ]; then
    _pullahead "$@"
else
    compdef _pullahead pullahead
fi"""


def _zsh_function(node: CommandNode) -> str:
    specifications = [_zsh_specification(argument) for argument in node.arguments]
    if not node.children:
        return "\n".join((f"{_zsh_name(node)}() {{", f"    _arguments {_continued(specifications)}", "}"))
    described = "\n".join(f"            '{child.path[-1]}:{_zsh_text(child.summary)}'" for child in node.children)
    cases = "\n".join(f"            {child.path[-1]}) {_zsh_name(child)} ;;" for child in node.children)
    specifications += ["'1: :->command'", "'*:: :->rest'"]
    return f"""\
{_zsh_name(node)}() {{
    local context state line
    typeset -A opt_args
    _arguments -C {_continued(specifications)}
    case $state in
    command)
        local -a commands=(
{described}
        )
        _describe command commands
        ;;
    rest)
        case $line[1] in
{cases}
        esac
        ;;
    esac
}}"""


def _zsh_name(node: CommandNode) -> str:
    return "_".join(("_pullahead", *node.path))


def _zsh_specification(argument: Argument) -> str:
    action = "_files" if argument.value == _FILE else f"({' '.join(argument.choices)})" if argument.choices else " "
    value = f":{_zsh_text(argument.value)}:{action}" if argument.value else ""
    star = "*" if argument.is_repeatable else ""
    if not argument.flags:
        return f"'{star}{value}'"
    return " ".join(f"'{star}{flag}[{_zsh_text(argument.help)}]{value}'" for flag in argument.flags)


def _zsh_text(text: str) -> str:
    for special in ("\\", "[", "]", ":"):
        text = text.replace(special, f"\\{special}")
    return text.replace("'", "'\\''")


def _continued(parts: list[str]) -> str:
    return " \\\n        ".join(parts)


def _fish(program: CommandNode) -> str:
    nodes = list(_nodes(program))
    paths = " ".join(f"'{node.words}'" for node in nodes if node.path)
    lines = "\n".join(line for node in nodes for line in _fish_lines(node))
    return f"""\
# fish completion for pullahead
function __pullahead_at
    set -l path ''
    for word in (commandline -opc)[2..-1]
        set -l longer (string trim -- "$path $word")
        if contains -- "$longer" {paths}
            set path "$longer"
        end
    end
    test "$path" = "$argv"
end

complete -c pullahead -f
{lines}"""


def _fish_lines(node: CommandNode) -> Iterator[str]:
    condition = f"__pullahead_at {node.words}".rstrip()
    at = f"complete -c pullahead -n '{condition}'"
    for child in node.children:
        yield f"{at} -a {child.path[-1]} -d {_fish_text(child.summary)}"
    for argument in node.arguments:
        if argument.flags:
            flags = " ".join(f"-l {flag[2:]}" if flag.startswith("--") else f"-s {flag[1:]}" for flag in argument.flags)
            value = "" if not argument.value else " -r -F" if argument.value == _FILE else " -x"
            yield f"{at} {flags}{value} -d {_fish_text(argument.help)}"
        elif argument.choices:
            yield f"{at} -a '{' '.join(argument.choices)}'"
    if node.takes_files:
        yield f"{at} -F"


def _fish_text(text: str) -> str:
    return "'{}'".format(text.replace("\\", "\\\\").replace("'", "\\'"))


_SCRIPTS: Final = {"bash": _bash, "zsh": _zsh, "fish": _fish}
