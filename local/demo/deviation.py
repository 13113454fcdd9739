"""How the demo ends where the service does something else than the story says."""


class DeviationError(Exception):
    """The service did something else than the story says."""


def expect(condition: bool, otherwise: str) -> None:
    """Raise DeviationError with the reason unless something holds."""
    if not condition:
        raise DeviationError(otherwise)
