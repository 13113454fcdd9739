"""What Lambda's logging controls do: which environment a runtime gets, and which lines reach the log group.

AWS Lambda Developer Guide, "Configuring advanced logging controls for Lambda functions": with LogFormat JSON, Lambda
tells the runtime a level, INFO unless another is set, and drops lines below it; a line that names no level counts as
INFO. With Text it filters nothing.
"""

import json
from collections.abc import Mapping
from typing import Final

_FORMAT: Final = "AWS_LAMBDA_LOG_FORMAT"
_LEVEL: Final = "AWS_LAMBDA_LOG_LEVEL"
_LEVELS: Final = ("TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL")
_SAME_LEVEL: Final = {"WARNING": "WARN", "CRITICAL": "FATAL"}
_UNNAMED: Final = "INFO"


def log_environment(config: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that a function's LoggingConfig sets."""
    if config.get("LogFormat") != "JSON":
        return {_FORMAT: "Text"}
    return {_FORMAT: "JSON", _LEVEL: config.get("ApplicationLogLevel", "INFO")}


def delivered(text: str, environment: Mapping[str, str]) -> str:
    """Leave out the lines that Lambda does not deliver."""
    if environment.get(_FORMAT) != "JSON":
        return text
    least = _LEVELS.index(environment[_LEVEL])
    return "".join(line for line in text.splitlines(keepends=True) if _LEVELS.index(_level_of(line)) >= least)


def _level_of(line: str) -> str:
    try:
        level = json.loads(line).get("level")
    except (ValueError, AttributeError):  # no JSON, or no object
        return _UNNAMED
    level = _SAME_LEVEL.get(level, level)
    return level if level in _LEVELS else _UNNAMED
