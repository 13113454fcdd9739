"""Holds a command to a share of one CPU: by a control group where we may make one, else by stopping it now and then."""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_MOUNT = Path("/sys/fs/cgroup")
_PERIOD_MICROSECONDS = 20_000  # short, so that a limit is felt evenly
_NAME = f"pullahead-bench-{os.getpid()}"
_DUTY_CYCLE = Path(__file__).with_name("duty_cycle.py")


class CpuLimit(NamedTuple):
    """What holds a command back: written before its words. `how` names it."""

    how: str
    prefix: tuple[str, ...]


@contextlib.contextmanager
def cpu_limit(share: float) -> Iterator[CpuLimit]:
    """Limit to a share of one CPU whatever is started with the prefix, until the end of the block."""
    group = _make_group(share)
    if group is None:
        yield CpuLimit("stopping and continuing it", (sys.executable, "-I", "-S", str(_DUTY_CYCLE), str(share)))
        return
    try:
        enter = 'echo $$ > "$0" && exec "$@"'
        yield CpuLimit("a control group", ("/bin/sh", "-c", enter, str(group / "cgroup.procs")))
    finally:
        group.rmdir()


def _make_group(share: float) -> Path | None:
    quota = round(share * _PERIOD_MICROSECONDS)
    with contextlib.suppress(OSError):
        return _group_v1(_MOUNT / "cpu" / _NAME, quota)
    with contextlib.suppress(OSError):
        return _group_v2(_MOUNT / _NAME, quota)
    return None


def _group_v1(group: Path, quota: int) -> Path:
    group.mkdir()
    return _limited(group, {"cpu.cfs_period_us": f"{_PERIOD_MICROSECONDS}", "cpu.cfs_quota_us": f"{quota}"})


def _group_v2(group: Path, quota: int) -> Path:
    controllers = (_MOUNT / "cgroup.subtree_control").read_text().split()
    if "cpu" not in controllers:
        (_MOUNT / "cgroup.subtree_control").write_text("+cpu")
    group.mkdir()
    return _limited(group, {"cpu.max": f"{quota} {_PERIOD_MICROSECONDS}"})


def _limited(group: Path, settings: dict[str, str]) -> Path:
    try:
        for name, value in settings.items():
            (group / name).write_text(value)
    except OSError:
        group.rmdir()
        raise
    return group
