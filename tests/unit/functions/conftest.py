"""The environment in which functions measure, and no metric of one test left to the next."""

from collections.abc import Iterator

import pytest
from aws_lambda_powertools import Metrics


@pytest.fixture(autouse=True)
def _metrics_of_one_test(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", "pullahead")
    monkeypatch.setenv("POWERTOOLS_METRICS_NAMESPACE", "Pullahead")
    Metrics().clear_metrics()  # of tests elsewhere
    yield
    Metrics().clear_metrics()
