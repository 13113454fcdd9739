"""What Lambda tells a function."""

from typing import cast

from aws_lambda_powertools.utilities.typing import LambdaContext


class _Context:
    """The remaining time, in milliseconds: one answer after the other, and then always the last one."""

    def __init__(self, *milliseconds: int) -> None:
        self._answers = list(milliseconds)

    def get_remaining_time_in_millis(self) -> int:
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


def lambda_context(*milliseconds: int) -> LambdaContext:
    """Make a context that answers so; by default there is much time."""
    return cast("LambdaContext", _Context(*milliseconds or (900_000,)))
