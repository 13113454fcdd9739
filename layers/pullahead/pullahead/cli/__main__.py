"""`python -m pullahead.cli`."""

import sys

from pullahead.cli.program import run

sys.exit(run())
