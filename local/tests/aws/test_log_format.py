"""Lambda's logging controls: what the runtime is told, and what reaches the log group."""

import json

import pytest

from local.aws.log_format import delivered, log_environment

DEBUG, INFO, WARNING, ERROR = (
    json.dumps({"level": level, "message": "m"}) + "\n" for level in ("DEBUG", "INFO", "WARNING", "ERROR")
)
METRIC = json.dumps({"_aws": {}, "Checks": [1]}) + "\n"
PLAIN = "plain text\n"
LINES = DEBUG + INFO + WARNING + ERROR + METRIC + PLAIN


def test_json_sets_a_level_even_where_none_is_asked_for() -> None:
    assert log_environment({"LogFormat": "JSON"}) == {
        "AWS_LAMBDA_LOG_FORMAT": "JSON",
        "AWS_LAMBDA_LOG_LEVEL": "INFO",
    }


@pytest.mark.parametrize("config", [{}, {"LogFormat": "Text"}])
def test_text_sets_no_level_and_drops_nothing(config: dict[str, str]) -> None:
    environment = log_environment(config)
    assert environment == {"AWS_LAMBDA_LOG_FORMAT": "Text"}
    assert delivered(LINES, environment) == LINES


@pytest.mark.parametrize(
    ("level", "lines"),
    [
        ("TRACE", LINES),
        ("DEBUG", LINES),
        ("INFO", INFO + WARNING + ERROR + METRIC + PLAIN),
        ("WARN", WARNING + ERROR),
        ("ERROR", ERROR),
        ("FATAL", ""),
    ],
)
def test_json_drops_what_is_below_the_level_and_metrics_with_it(level: str, lines: str) -> None:
    assert delivered(LINES, log_environment({"LogFormat": "JSON", "ApplicationLogLevel": level})) == lines
