"""What `plan`, `check` and `sync` begin with: read the rules, and look at both sides of every tag."""

import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from pullahead.cli.arguments import RulesArguments
from pullahead.cli.failing import say
from pullahead.cli.rules_connections import RulesConnections, SeveralAtOnce
from pullahead.cli.rules_file import only_rules, read_rules
from pullahead.cli.rules_texts import UNTOLD, unlisted_line, untold_line
from pullahead.registry.client import UpstreamRegistry
from pullahead.rules.model import Rules
from pullahead.rules.yaml_document import RulesError, describe
from pullahead.standalone.compare import ComparisonResult, RulesComparison, TagStatus
from pullahead.standalone.copy_image import StreamingTarget

_EVERY_SECONDS = 5.0


class Looking(NamedTuple):
    """The rules, both ends, and what was found."""

    rules: Rules
    upstream: UpstreamRegistry
    target: StreamingTarget
    looked: ComparisonResult

    @property
    def untold(self) -> tuple[TagStatus, ...]:
        """Those of which it could not be told how they stand."""
        return tuple(compared for compared in self.looked.tags if compared.state in UNTOLD)

    @property
    def is_all_told(self) -> bool:
        """Whether everything could be looked at."""
        return not self.untold and not self.looked.unlisted


def look(arguments: RulesArguments, *, asks_presence: bool = False) -> Looking | None:
    """Look through a rules file, and say on stderr what could not be told; None where the file is wrong, and said so.

    Raises ConfigError.
    """
    try:
        rules = only_rules(read_rules(arguments.file), arguments.only)
    except RulesError as error:
        for problem in error.problems:
            say(describe(error.source, problem))
        return None
    connections = RulesConnections(arguments.common, rules)
    upstream = connections.upstream()
    target = connections.destination(arguments.registry, asks_presence=asks_presence)
    published = target if arguments.registry is None else SeveralAtOnce(target)
    told = _nothing_said if arguments.common.quiet else Heartbeat(say).compared
    looked = RulesComparison(rules, upstream, published, datetime.now(UTC), told)()
    looking = Looking(rules, upstream, target, looked)
    _say_untold(looked.unlisted, unlisted_line)
    _say_untold(looking.untold, untold_line)
    return looking


class Heartbeat:
    """Says from time to time how many tags are compared."""

    def __init__(self, say_line: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._say, self._clock = say_line, clock
        self._said_at = clock()
        self._lock = threading.Lock()

    def compared(self, done: int, count: int) -> None:
        """Say so, where it is time."""
        with self._lock:
            if self._clock() - self._said_at >= _EVERY_SECONDS:
                self._said_at = self._clock()
                self._say(f"{done} of {count} tags compared")


def _nothing_said(_done: int, _count: int) -> None:
    pass


def _say_untold(what: Sequence[object], line: Callable[..., str]) -> None:
    for each in what:
        say(line(each))
