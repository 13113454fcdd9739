"""`python -m tests.e2e.demo_with_calls`: run the demo, and name on standard error each call that its role may not make.

A program of its own, since moto's state is one per process.
"""

import sys

from local.demo.__main__ import main
from local.demo.stage import Stage
from tests.architecture.sam_template import real_template
from tests.iam.judging import read_case, refused


def judge(stage: Stage) -> None:
    """Write the refused calls, and how many roles called anything."""
    case = read_case(stage.aws, stage.stack, real_template())
    print(*refused(case), f"{len({asked.role for asked in case.asked})} roles called AWS", sep="\n", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main([], inspect=judge))
