"""What each handler takes with its built layers until its first message, as in a cold start of Lambda: its imports, and
the clients and use cases that it makes then. Only handshakes are left out, as nothing is asked.

The layers are built by their own Makefiles, bytecode included, with wheels for this machine; what the Lambda runtime
brings (boto3, its own client) is precompiled, as it is there. A second figure is without the layers' bytecode, which is
what they cost if they were built where no Python of the runtime's version is.
"""

import compileall
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.copies import Stage
from bench.results import ImportResult
from local.aws.runtime_directory import runtime_directory

_ROOT = Path(__file__).parents[1]
_IMPORTER = Path(__file__).with_name("import_handler.py")
_LONGEST_SECONDS = 600
_LARGEST = 5
_REPORTS = 3
_BEGIN = "handler"
_IMPORT_TIME = re.compile(r"^import time: +(\d+) \| +\d+ \| *([\w.]+)$", re.MULTILINE)
_OWN = "pullahead"
_LAYERS = {"pullahead": "build-PullaheadLayer", "signatures": "build-SignaturesLayer"}
_OF_ONE = {"verify_image": ("signatures",)}  # beside the layer that all have
_ARN = "arn:aws:states:eu-west-1:123456789012:stateMachine:bench"
_SETTINGS = {  # of any function; nothing is asked
    "AWS_DEFAULT_REGION": "eu-west-1",
    "AWS_ACCESS_KEY_ID": "bench",
    "AWS_SECRET_ACCESS_KEY": "bench",
    "RULES_PATH": "/opt/rules.yaml",
    "RECORDS_TABLE": "records",
    "PLANS_BUCKET": "plans",
    "CHECKS_QUEUE_URL": "https://sqs.eu-west-1.amazonaws.com/123456789012/checks",
    "DEAD_LETTER_QUEUE_URL": "https://sqs.eu-west-1.amazonaws.com/123456789012/dead",
    "MAX_RECEIVE_COUNT": "5",
    "MAX_CONCURRENT_REFRESHES": "20",
    "REFRESH_STATE_MACHINE_ARN": _ARN,
    "ALERTS_TOPIC_ARN": "arn:aws:sns:eu-west-1:123456789012:alerts",
    "CHAT_ALERTS_TOPIC_ARN": "arn:aws:sns:eu-west-1:123456789012:chat",
    "SILENCE_SECONDS": "1800",
    "TARGET_REPOSITORIES": "*",
    "WEBHOOK_SECRET": "webhooks",
}


class _FailedError(Exception):
    """A layer cannot be built, or a handler not be imported."""


def measure_imports(rounds: int, stage: Stage) -> tuple[ImportResult, ...]:
    """Import every handler `rounds` times, after a warm-up, each in a process of its own."""
    stage.say("imports: building the layers")
    tasks = sorted(app.parent for app in (_ROOT / "functions").glob("*/app.py"))
    folder = stage.folder / "imports"
    try:
        layers = {name: _build_layer(name, folder / name) for name in _LAYERS}
        runtime = _compiled_runtime(folder / "runtime")
    except (_FailedError, subprocess.SubprocessError) as error:
        stage.say(f"  {error}")
        return tuple(ImportResult(task.name, problem=str(error)) for task in tasks)
    as_built = [_measure(task, layers, runtime, rounds) for task in tasks]
    for layer in layers.values():
        for bytecode in tuple(layer.rglob("__pycache__")):
            shutil.rmtree(bytecode)
    without_bytecode = [_measure(task, layers, runtime, rounds) for task in tasks]
    results = tuple(
        ImportResult(one.function, one.cpu_ms, other.cpu_ms, one.largest, one.problem)
        for one, other in zip(as_built, without_bytecode, strict=True)
    )
    for result in results:
        figures = ", ".join(f"{ms:.0f} ms" for ms in result.cpu_ms)
        stage.say(f"  {result.function}: {result.problem or figures}")
    shutil.rmtree(folder)
    return results


def spent_by_package(report: str) -> Counter[str]:
    """Add up the milliseconds that `-X importtime` tells by package, our own by its parts; what it imports counts not.

    All that Lambda itself imports comes before the line that says where the handler begins.
    """
    spent: Counter[str] = Counter()
    for microseconds, module in _IMPORT_TIME.findall(report.partition(f"{_BEGIN}\n")[2]):
        parts = module.split(".")
        spent[".".join(parts[:2]) if parts[0] == _OWN else parts[0]] += int(microseconds)
    return Counter({name: microseconds // 1000 for name, microseconds in spent.items()})


def _measure(task: Path, layers: Mapping[str, Path], runtime: Path, rounds: int) -> ImportResult:
    its_layers = [str(layers[name] / "python") for name in (_OWN, *_OF_ONE.get(task.name, ()))]
    places = [str(_IMPORTER), str(task), *its_layers, str(runtime)]
    try:
        cpu_ms = tuple(float(_run(places, task).stdout) for _ in range(rounds + 1))[1:]
        reports = [_run(["-X", "importtime", *places], task).stderr for _ in range(_REPORTS)]
    except _FailedError as error:
        return ImportResult(task.name, problem=str(error))
    quietest = min(map(spent_by_package, reports), key=Counter.total)
    return ImportResult(task.name, cpu_ms, largest=tuple(quietest.most_common(_LARGEST)))


def _run(arguments: Sequence[str], task: Path) -> "subprocess.CompletedProcess[str]":
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "AWS_LAMBDA_FUNCTION_NAME": task.name,
        "AWS_REGION": "eu-west-1",
        "LAMBDA_TASK_ROOT": str(task),
        "POWERTOOLS_SERVICE_NAME": _OWN,
        "POWERTOOLS_METRICS_NAMESPACE": "Pullahead",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        **_SETTINGS,
    }
    # -B: what is compiled is not kept. -I and -S: nothing of this machine's Python but its standard library.
    command = [sys.executable, "-I", "-S", "-B", *arguments]
    done = subprocess.run(
        command, env=environment, cwd=task, capture_output=True, text=True, timeout=_LONGEST_SECONDS, check=False
    )
    if done.returncode != 0:
        raise _FailedError(f"{task.name}: {(done.stderr.strip().splitlines() or ['no reason given'])[-1]}")
    return done


def _build_layer(name: str, folder: Path) -> Path:
    command = ["make", "-C", str(_ROOT / "layers" / name), _LAYERS[name], f"ARTIFACTS_DIR={folder}"]
    environment = {**os.environ, "PULLAHEAD_BUILD_PLATFORM": "host", "PYTHON": sys.executable}
    environment.pop("REQUESTS_CA_BUNDLE", None)  # pip asks others than the bench's own servers
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=_LONGEST_SECONDS, check=False
    )
    if done.returncode != 0:
        raise _FailedError(f"the layer {name} cannot be built: {done.stderr.strip()[-300:]}")
    return folder


def _compiled_runtime(folder: Path) -> Path:
    shutil.copytree(runtime_directory(), folder, ignore=shutil.ignore_patterns("__pycache__"))
    sys.pycache_prefix = None  # beside the code, as Lambda's runtime has it
    compileall.compile_dir(folder, quiet=1)
    return folder
