"""`python -m bench.check_cpu`: the CPU time of one check in check_freshness, by its own handler over TLS.

The handler runs here, in batches of ten messages of ten tags that are fresh. A process of its own answers for the
registry, and for DynamoDB, ECR and S3, so its work is not counted. The simulation uses the figure (CPU_SECONDS).
"""

import contextlib
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from bench.authority import HOST, make_authority, trust_whatever_asks, trusted
from bench.discarding_registry import DiscardingHandler, TlsServer
from bench.scale_records import Deployment, this_moment
from bench.scale_run import Context, cpu_share
from bench.servers import bench_server, own_environment
from pullahead.aws.records import DynamoRecords
from pullahead.rules.mirror_key import MirrorKey

CPU_SECONDS: Final = 0.0011
"""Of one check, with its share of the reads of records and of DescribeImages, as docs/operating.md assumes it."""
_MESSAGES, _TAGS = 10, 10
_BATCHES, _WARM_UP = 25, 5
_DEPLOYMENT: Final = Deployment(2 * (_BATCHES + _WARM_UP) * _MESSAGES * _TAGS)
_ACCOUNT: Final = "123456789012"


class Measured(NamedTuple):
    """What one check took, in seconds of a whole CPU, and as it passes with that of 256 MB."""

    cpu_seconds: float
    at_256_mb: float


class _Client:
    """Keeps what is written last."""

    item: Mapping[str, Any]

    def put_item(self, **asked: Any) -> Mapping[str, Any]:
        self.item = asked["Item"]
        return {}


class _Handler(DiscardingHandler):
    """Answers as a registry whose tags are as ECR has them, and as AWS."""

    host: str

    def do_GET(self) -> None:  # noqa: N802 (http.server calls it so)
        if "/manifests/" in self.path:
            digest = _DEPLOYMENT.record(0, this_moment()).upstream_digest
            kind = "application/vnd.oci.image.manifest.v1+json"
            self.send_response(200)
            for name, value in (("Content-Type", kind), ("Docker-Content-Digest", str(digest)), ("Content-Length", 7)):
                self.send_header(str(name), str(value))
            self.end_headers()
        elif self.path == "/v2/":
            self.answer(200)
        else:  # there are no other rules than those of the deployment
            self.answer(404, {"Content-Type": "application/xml"}, b"<Error><Code>NoSuchKey</Code></Error>")

    def do_POST(self) -> None:  # noqa: N802
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        operation = self.headers.get("X-Amz-Target", "").rpartition(".")[2]
        if operation == "BatchGetItem":
            ((table, wanted),) = asked["RequestItems"].items()
            self._reply({"Responses": {table: self._items(wanted["Keys"])}, "UnprocessedKeys": {}})
        elif operation == "DescribeImages":
            digest = _DEPLOYMENT.record(0, this_moment()).published_digest
            tags = [each["imageTag"] for each in asked["imageIds"]]
            self._reply({"imageDetails": [{"imageDigest": digest, "imageTags": tags}]})
        else:
            self._reply({"Attributes": {}})

    def _items(self, keys: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        found = []
        for key in (each["pk"]["S"] for each in keys):
            if key.startswith("mirror#"):
                mirror = MirrorKey.parse(key.removeprefix("mirror#"))
                record = _DEPLOYMENT.record(_DEPLOYMENT.number_of(mirror), this_moment())
                upstream = f"{self.host}/{mirror.repository.partition('/')[2]}:{mirror.tag}"
                client: Any = _Client()
                DynamoRecords(client, "records").save(record.with_changes(upstream=upstream), record.version)
                found.append(client.item)
        return found

    def _reply(self, value: object) -> None:
        self.answer(200, {"Content-Type": "application/x-amz-json-1.1"}, json.dumps(value).encode())


def measure() -> Measured:
    """Run the handler in a process of its own, against a server."""
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        authority = make_authority(folder / "authority")
        stack.enter_context(trusted(authority))
        shown = (str(authority.certificate), str(authority.key))
        host = stack.enter_context(bench_server("bench.check_cpu", ["serve", *shown], folder / "server.log"))
        rules = folder / "rules.yaml"
        rules.write_text(_rules(host), encoding="utf-8")
        command = [sys.executable, "-m", "bench.check_cpu", "0", "run"]
        environment = own_environment() | _environment(host, rules)
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"the handler failed: {done.stderr[-2000:]}")
        seconds = float(done.stdout.splitlines()[-1])
        return Measured(seconds, seconds / cpu_share(256))


def _rules(host: str) -> str:
    lines = ["version: 1", f'upstreams: {{"{host}": {{private_addresses: true}}}}', "mirrors:"]
    tags = ", ".join(f"v1.{number}.0" for number in range(_TAGS))
    for message in range((_BATCHES + _WARM_UP) * _MESSAGES):
        name = f"team/app-{message:05}"
        lines.append(
            f"  - {{upstream: '{host}/{name}', repository: named/{name}, tags: [{tags}], referrers: {{copy: false}}}}"
        )
    return "\n".join([*lines, ""])


def _environment(host: str, rules: Path) -> dict[str, str]:
    url = f"https://{host}"
    return {
        "AWS_ENDPOINT_URL": url,
        "AWS_CA_BUNDLE": os.environ["SSL_CERT_FILE"],
        "AWS_ACCESS_KEY_ID": "bench",
        "AWS_SECRET_ACCESS_KEY": "bench",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "POWERTOOLS_SERVICE_NAME": "bench",
        "POWERTOOLS_METRICS_NAMESPACE": "Pullahead",
        "RULES_PATH": str(rules),
        "RECORDS_TABLE": "records",
        "PLANS_BUCKET": "plans",
        "CHECKS_QUEUE_URL": f"{url}/{_ACCOUNT}/checks",
        "DEAD_LETTER_QUEUE_URL": f"{url}/{_ACCOUNT}/dead",
        "MAX_RECEIVE_COUNT": "5",
        "MAX_CONCURRENT_REFRESHES": "20",
        "REFRESH_STATE_MACHINE_ARN": f"arn:aws:states:eu-west-1:{_ACCOUNT}:stateMachine:bench",
        "TARGET_REPOSITORIES": "*",
        "NO_PROXY": HOST,
    }


def _run() -> float:
    """Handle the batches; return the CPU seconds of one check."""
    trust_whatever_asks()
    handler = importlib.import_module("functions.check_freshness.app").handler
    checks, began = 0, 0.0
    for batch in range(_WARM_UP + _BATCHES):
        if batch == _WARM_UP:
            began = time.process_time()
        answer = handler({"Records": list(_records(batch))}, Context(256, 120.0))
        if answer["batchItemFailures"]:
            raise RuntimeError("a check failed")
        checks += _MESSAGES * _TAGS if batch >= _WARM_UP else 0
    return (time.process_time() - began) / checks


def _records(batch: int) -> list[dict[str, Any]]:
    tags = [f"v1.{number}.0" for number in range(_TAGS)]
    at = this_moment().isoformat()
    found = []
    for message in range(batch * _MESSAGES, (batch + 1) * _MESSAGES):
        asked = {"reason": "schedule", "repository": f"named/team/app-{message:05}", "tags": tags, "asked_at": at}
        attributes = {"ApproximateReceiveCount": "1"}
        found.append({"messageId": str(message), "body": json.dumps(asked), "attributes": attributes})
    return found


def main(arguments: Sequence[str]) -> int:
    """Measure; or, in processes of its own, serve at a port or run the handler."""
    if len(arguments) > 1 and arguments[1] == "serve":
        _Handler.host = f"{HOST}:{arguments[0]}"
        TlsServer(int(arguments[0]), _Handler, (arguments[2], arguments[3])).serve_forever()
    elif len(arguments) > 1:
        print(_run())
    else:
        measured = measure()
        print(
            f"one check: {measured.cpu_seconds * 1000:.2f} ms of a CPU, {measured.at_256_mb * 1000:.1f} ms with 256 MB"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
