"""Run one command and write what it cost to a file: `python -I -S launch.py REPORT COMMAND...`.

A process of its own, and a small one, because Linux hands a parent's peak memory on to the child across exec: started
from the bench itself every tool would seem to need at least the bench's own memory. The kernel counts the clocks and
the memory (wait4); the wall is the time from the start of the command to its end.
"""

import os
import sys
import time


def main(report: str, command: list[str]) -> int:
    """Write `wall cpu peak_rss_kib exit_code` and return the command's exit code."""
    started = time.perf_counter()
    process = os.posix_spawnp(command[0], command, os.environ)
    _, status, usage = os.wait4(process, 0)
    wall = time.perf_counter() - started
    code = os.waitstatus_to_exitcode(status)
    with open(report, "w", encoding="ascii") as file:  # noqa: PTH123 (pathlib alone costs 3 MiB)
        file.write(f"{wall:.6f} {usage.ru_utime + usage.ru_stime:.6f} {usage.ru_maxrss} {code}\n")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
