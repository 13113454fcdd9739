"""What holds for every test: in CI nothing is skipped, so a missing program fails instead of hiding tests."""

import os
from collections.abc import Generator, Mapping

import pytest


def skips_are_failures(environment: Mapping[str, str]) -> bool:
    """Tell whether we run where everything that a test needs has been installed."""
    return environment.get("CI", "").lower() == "true"


def forbid_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Turn a skip into a failure that names the skip's reason. An expected failure is no skip."""
    if report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        report.outcome = "failed"
        report.longrepr = f"{report.nodeid} was skipped, which CI=true does not allow. {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Apply the rule to tests."""
    report = yield
    if skips_are_failures(os.environ):
        forbid_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Apply the rule to modules that skip themselves."""
    report = yield
    if skips_are_failures(os.environ):
        forbid_skip(report)
    return report
