"""`python -m bench.lambda_copy JSON`: one layer into ECR by the handlers themselves, as a JSON document of its cost.

What the function is told, and how much time it says is left, is in the JSON. Counts from the call of
`copy_blobs` to its answer `done`; starting, importing and planning come before.
"""

import importlib
import json
import resource
import sys
import time
from typing import Any

from bench.authority import trust_whatever_asks


class Context:
    """What Lambda tells a handler. Time never gets less: what is measured is a copy, not its end."""

    function_name = "copy_blobs"
    memory_limit_in_mb = 1024
    invoked_function_arn = "arn:aws:lambda:eu-west-1:123456789012:function:copy_blobs"
    aws_request_id = "00000000-0000-0000-0000-000000000000"

    def __init__(self, seconds_left: float) -> None:
        self._seconds_left = seconds_left

    def get_remaining_time_in_millis(self) -> int:
        """Tell how much time is left."""
        return int(self._seconds_left * 1000)


def main(refresh: dict[str, Any], seconds_left: float) -> dict[str, Any]:
    """Plan, and copy every unit; return what copying took."""
    context = Context(seconds_left)
    importlib.import_module("functions.create_repository.app").handler(refresh, context)
    plan = importlib.import_module("functions.plan_copy.app").handler(refresh, context)
    copy_blobs = importlib.import_module("functions.copy_blobs.app").handler
    began, cpu = time.perf_counter(), time.process_time()
    copied = 0
    for unit in plan["units"]:
        while not unit["done"]:
            unit = copy_blobs(unit, context)  # noqa: PLW2901 (a unit's answer is its next request)
        copied += unit["bytes_copied"]
    return {
        "seconds": time.perf_counter() - began,
        "cpu_seconds": time.process_time() - cpu,
        "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "bytes_copied": copied,
    }


if __name__ == "__main__":
    trust_whatever_asks()
    print("\n" + json.dumps(main(**json.loads(sys.argv[1]))))
