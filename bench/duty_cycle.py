"""`python -I -S duty_cycle.py SHARE COMMAND...`: run a command and stop it whenever it has had its share of a CPU.

For machines where nobody lets us make a control group. Coarser than one, and itself some per cent of a CPU.
"""

import os
import signal
import sys
import time

_BURST_SECONDS = 0.02  # of a CPU: what may be used at once after having waited
_LOOK_SECONDS = 0.004


class Allowance:
    """CPU time that comes in at the rate of the share, is kept for a burst at most, and may be owed."""

    def __init__(self, share: float, now: float) -> None:
        self._share, self._now = share, now
        self._used, self._left = 0.0, 0.0

    def pause(self, used: float, now: float) -> float:
        """Take note of the CPU seconds used until now; returns for how many seconds to stop."""
        earned = (now - self._now) * self._share
        self._left = min(_BURST_SECONDS, self._left + earned - (used - self._used))
        self._used, self._now = used, now
        return max(0.0, -self._left / self._share)


def main(share: float, command: list[str]) -> int:
    """Return the command's exit code."""
    process = os.posix_spawnp(command[0], command, os.environ)
    allowance = Allowance(share, time.monotonic())
    clock = (~process << 3) | 2  # clock_getcpuclockid(3), as Linux numbers it
    while True:
        ended, status = os.waitpid(process, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        seconds = allowance.pause(time.clock_gettime(clock), time.monotonic())
        if seconds > 0:
            os.kill(process, signal.SIGSTOP)
            time.sleep(seconds)
            os.kill(process, signal.SIGCONT)
        else:
            time.sleep(_LOOK_SECONDS)


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]), sys.argv[2:]))
