"""Says where and with what a run was made, and where it may put its gigabytes."""

import contextlib
import os
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from bench.results import Machine
from bench.servers import Distribution
from bench.tools import Tool

_RAM_DISK = Path("/dev/shm")  # noqa: S108 (the point is that it is memory)


def describe_machine(tools: Sequence[Tool], distribution: Distribution, folder: Path) -> Machine:
    """Take down the machine and the versions."""
    versions = {tool.name: tool.version for tool in tools if tool.program is not None}
    versions["docker-registry"] = distribution.version
    versions["Python"] = ".".join(map(str, sys.version_info[:3]))
    return Machine(
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        cpus=f"{os.cpu_count()} x {_processor()}",
        kernel=platform.release(),
        memory_gib=round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30),
        storage="a RAM disk" if _RAM_DISK in folder.parents else "disk",
        load_before=os.getloadavg()[0],
        versions=versions,
        absent=tuple(tool.name for tool in tools if tool.program is None),
    )


@contextlib.contextmanager
def work_folder(needed_bytes: int) -> Iterator[Path]:
    """Make a folder on the RAM disk if it has the room, else where temporary files go."""
    ram = _RAM_DISK.is_dir() and shutil.disk_usage(_RAM_DISK).free > needed_bytes
    with tempfile.TemporaryDirectory(prefix="pullahead-bench-", dir=_RAM_DISK if ram else None) as folder:
        yield Path(folder)


def _processor() -> str:
    found = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1] if found else platform.machine()
