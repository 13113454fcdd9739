"""Log lines of the functions: each is one JSON object on one line, and text from outside in it steers no terminal."""

import json
from typing import Any

from aws_lambda_powertools import Logger

from pullahead.text import escaped_json


def new_logger(**options: Any) -> Logger:
    """Make a logger with Powertools' options, which escapes what is not printable, such as bidirectional controls."""
    return Logger(json_serializer=_line, **options)


def _line(entry: Any) -> str:
    return escaped_json(json.dumps(entry, default=str, ensure_ascii=False, separators=(",", ":")))
