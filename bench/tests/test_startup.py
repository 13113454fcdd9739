"""What is counted until the first request: a client's own CPU, and only if a request comes."""

import sys

import pytest

from bench.copies import Stage
from bench.startup import measure_starts
from bench.tools import Commands, Copy, Tool

_ASK = "import os, sys, ssl, urllib.request\n"
_REQUEST = "urllib.request.urlopen('https://' + sys.argv[1].split('/')[0] + '/v2/')"
_WORK = "import time\nwhile time.process_time() < 0.4: pass\n"


def client(name: str, code: str) -> Tool:
    def command(program: str, copy: Copy) -> list[str]:
        return [program, "-I", "-S", "-c", code, copy.source]

    return Tool(name, sys.executable, "1", Commands(command))


@pytest.mark.real_registry
def test_cpu_before_the_request_counts(stage: Stage) -> None:
    tools = [client("idle", _ASK + _REQUEST), client("busy", _WORK + _ASK + _REQUEST), client("mute", "print('no')")]

    idle, busy, mute, alone = measure_starts(tools, 1, stage)

    assert idle.problem is None
    assert busy.cpu_ms[0] > 400
    assert busy.cpu_ms[0] > idle.cpu_ms[0]
    assert "no" in (mute.problem or "")
    assert alone.cpu_ms[0] > 0
