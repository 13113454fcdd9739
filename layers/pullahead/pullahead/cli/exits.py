"""What the command line's exit codes mean."""

DONE = 0
FAILED = 1
USAGE = 2
NOTHING_TO_DO = 3
NOT_FRESH = 3
INTERRUPTED = 130  # 128 and the number of SIGINT, as shells have it
