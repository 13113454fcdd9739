"""What the core asks of clocks.

Every method may raise the errors that its docstring names and no others; adapters translate.
"""

from collections.abc import Callable
from datetime import datetime

Clock = Callable[[], datetime]
"""The time now, aware, in UTC."""

Wait = Callable[[int], None]
"""Waits before a broken transfer goes on; the argument counts the breaks in a row."""
