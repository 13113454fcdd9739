"""What all tests share: their order, what is read once for all of them, and that in CI none of them is skipped.

So a missing program fails there instead of hiding tests.
"""

import functools
import gc
import os
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest
from botocore.loaders import JSONFileLoader, Loader
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

ROOT: Final = Path(__file__).parent

LONGEST_FIRST: Final = (
    "tests/e2e/test_sam.py",
    "tests/iam/test_permissions.py",
    "tests/e2e/test_cli_hostile.py",
    "tests/chaos/",
    "tests/e2e/test_demo.py",
    "tests/scenarios/test_ecr_refuses.py",
    "tests/scenarios/test_pulls.py",
    "tests/scenarios/test_selection.py",
    "tests/scenarios/test_copy_interrupted.py",
    "tests/scenarios/test_concurrent_refreshes.py",
    "tests/scenarios/test_command_line.py",
    "tests/scenarios/test_small_account.py",
    "tests/scenarios/test_review.py",
    "tests/scenarios/",
    "tests/contract/test_damaged_items.py",
    "tests/contract/referrers/",
    "tests/live/",
    "bench/",
    "tests/e2e/test_local.py",
    "tests/e2e/",
    "tests/iam/",
    "local/",
    "tests/contract/",
    "tests/unit/admission/test_cooldown_simulation.py",
    "tests/unit/checks/",
    "tests/",
)
"""Files are given to workers as they become free. One that takes minutes has to begin early: the end is not to wait for
it. All of a folder are together, as they may share a deployed stack."""


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


SHARED_FOLDERS: Final = ("tests/iam/",)
"""Whose tests share what takes minutes to make, which each worker would make for itself."""


def _place_of(path: Path) -> int:
    """Find the first entry that a file belongs to; what belongs to none comes last."""
    name = path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else str(path)
    matching = (place for place, prefix in enumerate(LONGEST_FIRST) if name.startswith(prefix))
    return next(matching, len(LONGEST_FIRST))


class _OneWorkerForSharedFolders(LoadFileScheduling):  # type: ignore[misc]  # xdist has no types
    """Gives each file to one worker, and all files of a folder whose fixture takes minutes."""

    def _split_scope(self, nodeid: str) -> str:
        file: str = super()._split_scope(nodeid)
        return next((folder for folder in SHARED_FOLDERS if file.startswith(folder)), file)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadFileScheduling:
    """Spread tests over workers, in place of what `--dist` names."""
    gc.disable()  # in the process that only keeps some 36,000 reports, and would look through them again and again
    return _OneWorkerForSharedFolders(config, log)


def pytest_configure(config: pytest.Config) -> None:
    """Let each worker begin to collect elsewhere: on a new machine all would compile the same files at once."""
    worker = getattr(config, "workerinput", None)
    if worker is not None and config.args_source is pytest.Config.ArgsSource.TESTPATHS:
        files = sorted(str(file) for folder in config.args for file in (ROOT / folder).rglob("test_*.py"))
        first = len(files) * int(worker["workerid"].removeprefix("gw")) // worker["workercount"]
        config.args[:] = files[first:] + files[:first]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest, in the same order in each worker."""
    places: dict[Path, int] = {}
    for item in items:
        if item.path not in places:
            places[item.path] = _place_of(item.path)
    items.sort(key=lambda item: (places[item.path], item.path))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Look for no garbage while tests are collected, nor later in what was: some 10,000 tests, and all modules."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


@functools.cache
def _read(file_path: str) -> Any:
    return JSONFileLoader().load_file(file_path)


class _ReadOnce(JSONFileLoader):
    """Reads each of botocore's files once in a process, not once for each session."""

    def load_file(self, file_path: str) -> Any:
        """Read a file, or return what it was."""
        return _read(file_path)


Loader.FILE_LOADER_CLASS = _ReadOnce
