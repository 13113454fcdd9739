"""Call a function for many arguments, a few at once: as for manifests, whose answers take longer than their bytes."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

_Argument = TypeVar("_Argument")
_Result = TypeVar("_Result")

AT_ONCE: Final = 8


def map_in_threads(
    pool: ThreadPoolExecutor, call: Callable[[_Argument], _Result], arguments: Sequence[_Argument]
) -> Iterator[_Result]:
    """Yield the results in the order of the arguments; begin no more of them before the caller has taken these.

    Raises what `call` raises in the place of its result; a single argument is called in the caller's own thread.
    """
    for start in range(0, len(arguments), AT_ONCE):
        few = arguments[start : start + AT_ONCE]
        yield from pool.map(call, few) if len(few) > 1 else map(call, few)
