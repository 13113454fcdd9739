"""`python -m tests.iam.demo_calls`: play the demo, and say what it called that its roles may not.

A program of its own, since moto's state is one per process, and the tests of this folder have a local AWS already.
"""

import sys

from local.demo.screen import Screen
from local.demo.stage import set_stage
from local.demo.story import Story
from tests.architecture.sam_template import real_template
from tests.iam.judging import read_case, refused


def main() -> int:
    """Exit 1 if a call would have been refused."""
    with set_stage(None) as stage:
        Story(stage, Screen()).tell()
        case = read_case(stage.aws, stage.stack, real_template())
    findings = refused(case)
    print(*findings, f"{len({asked.role for asked in case.asked})} roles were seen at work", sep="\n")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
