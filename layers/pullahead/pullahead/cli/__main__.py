"""`python -m pullahead.cli`."""

import sys

from pullahead.cli.failing import end_at_once_on_signals, report_defects
from pullahead.cli.main import main

end_at_once_on_signals()
report_defects()
sys.exit(main(sys.argv[1:]))
