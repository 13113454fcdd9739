"""Starts AWS's own runtime client inside a sandbox. Run by path, by an isolated Python that sees no site-packages.

Decides what is importable: the function, its layers, the Lambda runtime, and nothing else. It may import nothing of
this repository but what the layers bring.
"""

import importlib.util
import os
import resource
import runpy
import sys
import traceback
from datetime import UTC, datetime, timedelta
from pathlib import Path


def main() -> None:
    """Set limits, path and clock, then hand over to awslambdaric with the handler's name."""
    _limit_memory(int(os.environ.pop("LOCAL_ADDRESS_SPACE_BYTES")))
    sys.path[:0] = _import_path()
    _set_clock(Path(os.environ["LOCAL_CLOCK_FILE"]))
    _stand_in_for_native_client()
    sys.argv = ["bootstrap", os.environ["_HANDLER"]]
    runpy.run_module("awslambdaric", run_name="__main__")


def _limit_memory(address_space_bytes: int) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    try:
        resource.setrlimit(resource.RLIMIT_AS, (address_space_bytes, hard))
    except (ValueError, OSError) as error:  # macOS has no working RLIMIT_AS
        print(f"no memory limit on this system: {error}", file=sys.stderr)


def _import_path() -> list[str]:
    """Order as in Lambda: the function, then its layers, then the runtime."""
    opt = Path(os.environ["LOCAL_OPT_DIRECTORY"])
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    layers = [opt / "python" / "lib" / version / "site-packages", opt / "python"]
    return [os.environ["LAMBDA_TASK_ROOT"], *map(str, layers), os.environ["LOCAL_RUNTIME_DIRECTORY"]]


def _set_clock(offset_file: Path) -> None:
    if importlib.util.find_spec("pullahead") is None or importlib.util.find_spec("pullahead.app") is None:
        return
    try:
        from pullahead.app import use_clock
    except ImportError:
        traceback.print_exc()  # the handler's own import fails next, and Lambda's error for that is the one to see
        return

    def clock() -> datetime:
        try:
            offset_seconds = float(offset_file.read_text(encoding="ascii"))
        except FileNotFoundError:
            offset_seconds = 0.0
        return datetime.now(UTC) + timedelta(seconds=offset_seconds)

    use_clock(clock)


def _stand_in_for_native_client() -> None:
    if importlib.util.find_spec("runtime_client") is not None:
        return
    spec = importlib.util.spec_from_file_location("runtime_client", Path(__file__).with_name("runtime_client.py"))
    if spec is None or spec.loader is None:
        raise ImportError("runtime_client.py is not beside bootstrap.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["runtime_client"] = module
    spec.loader.exec_module(module)


if __name__ == "__main__":
    main()
