"""`python -I -S import_handler.py TASK FOLDER...`: import a handler as Lambda does; prints the CPU's milliseconds.

What Lambda's own start has imported by then (its client, its logging) is imported before the clock runs.
"""

import sys
import time
import types


def main(*folders: str) -> None:
    """Look in the function, then in its layers, then in the runtime, and nowhere else."""
    sys.path[:0] = folders
    native = types.ModuleType("runtime_client")  # the part of the client that talks to Lambda, which is not there
    native.initialize_client = lambda _: None  # type: ignore[attr-defined]
    sys.modules["runtime_client"] = native
    import awslambdaric.bootstrap  # noqa: F401, PLC0415

    print("handler", file=sys.stderr, flush=True)  # where the list of imports begins
    began = time.process_time()
    import app  # type: ignore[import-not-found] # noqa: F401, PLC0415

    print((time.process_time() - began) * 1000)


if __name__ == "__main__":
    main(*sys.argv[1:])
