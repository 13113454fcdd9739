"""Ctrl-C, and a request to end, stop a run and not its cleaning."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Final, Self

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupts:
    """Raises KeyboardInterrupt at the first signal; while things are removed, only at the second."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._is_cleaning = False
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._interrupted) for number in SIGNALS}
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    @contextmanager
    def cleaning_up(self) -> Iterator[None]:
        """Warn at the first signal from here on."""
        self._is_cleaning = True
        yield

    def _interrupted(self, _: int, __: FrameType | None) -> None:
        if self._is_cleaning:
            self._is_cleaning = False
            self._tell("still removing; interrupt once more to stop, and remove the rest by: make live ARGS=--clean")
            return
        self._is_cleaning = True  # a second Ctrl-C of an impatient hand must not stop what follows from the first
        raise KeyboardInterrupt
