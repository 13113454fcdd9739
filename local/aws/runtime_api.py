"""The Lambda Runtime API for one sandbox: hands it events and takes its answers. Knows no process and no timeout.

AWS Lambda developer guide, "Using the Lambda runtime API for custom runtimes", version 2018-06-01.
"""

import json
import queue
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, NamedTuple

# Lambda quotas: 6 MB of answer; the Runtime API refuses more with 413.
MAX_RESPONSE_BYTES: Final = 6 * 1024 * 1024
_PREFIX: Final = "/2018-06-01/runtime"
_NEVER: Final = "the sandbox is being stopped"


class RuntimeCall(NamedTuple):
    """One invocation as the runtime client sees it."""

    request_id: str
    payload: bytes
    deadline_milliseconds: int
    function_arn: str
    trace_id: str


class RuntimeResponse(NamedTuple):
    """The response of the runtime client, or of the watcher of its process."""

    payload: bytes
    error_type: str | None


class RuntimeApi:
    """A listener on the loopback address that one sandbox process talks to."""

    def __init__(self) -> None:
        self.ready = threading.Event()
        self._calls: queue.Queue[RuntimeCall | None] = queue.Queue(maxsize=2)
        self._answers: queue.Queue[RuntimeResponse] = queue.Queue()
        self._server = _Server(self)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True, name="runtime-api").start()

    @property
    def address(self) -> str:
        """Return what AWS_LAMBDA_RUNTIME_API has to be."""
        return f"127.0.0.1:{self._server.server_address[1]}"

    def offer(self, call: RuntimeCall) -> None:
        """Give the sandbox its next event."""
        self._calls.put(call)

    def answer(self, answer: RuntimeResponse) -> None:
        """Take a response, from the sandbox itself or from the watcher of its process."""
        self._answers.put(answer)

    def wait_answer(self, timeout_seconds: float) -> RuntimeResponse | None:
        """Return the next answer, or None when there is none in time."""
        try:
            return self._answers.get(timeout=timeout_seconds)
        except queue.Empty:
            return None

    def next_call(self) -> RuntimeCall | None:
        """Block until there is an event; None means that none will come."""
        self.ready.set()
        return self._calls.get()

    def close(self) -> None:
        """Stop listening; a sandbox that waits for an event is let go."""
        self._calls.put(None)
        threading.Thread(target=self._shut, daemon=True, name="runtime-api-close").start()

    def _shut(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # headers and body in one packet; else delayed acknowledgement costs 40 ms a call
    disable_nagle_algorithm = True
    server: "_Server"

    def log_message(self, *_: object) -> None:
        """Say nothing: every call is in `LocalAws.invocations`."""

    def do_GET(self) -> None:
        if self.path != f"{_PREFIX}/invocation/next":
            self._reply(404, b"{}")
            return
        call = self.server.api.next_call()
        if call is None:
            self._reply(500, json.dumps({"errorMessage": _NEVER}).encode())
        else:
            self._reply(200, call.payload, _headers(call))

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path.endswith("/response"):
            self._take_response(body)
        elif self.path.endswith("/error"):  # of an invocation, or of the initialisation
            self.server.api.answer(RuntimeResponse(body, _error_type(body)))
            self._reply(202, b'{"status":"OK"}')
        else:
            self._reply(404, b"{}")

    def _take_response(self, body: bytes) -> None:
        if len(body) <= MAX_RESPONSE_BYTES:
            self.server.api.answer(RuntimeResponse(body, None))
            self._reply(202, b'{"status":"OK"}')
            return
        self.server.api.answer(
            error_answer("Function.ResponseSizeTooLarge", f"Response payload size exceeded {len(body)}")
        )
        self._reply(413, b'{"errorType":"RequestEntityTooLarge"}')

    def _reply(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, api: RuntimeApi) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.api = api

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Report what went wrong, but not that a killed sandbox took its connection with it."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def _headers(call: RuntimeCall) -> dict[str, str]:
    return {
        "Lambda-Runtime-Aws-Request-Id": call.request_id,
        "Lambda-Runtime-Deadline-Ms": str(call.deadline_milliseconds),
        "Lambda-Runtime-Invoked-Function-Arn": call.function_arn,
        "Lambda-Runtime-Trace-Id": call.trace_id,
    }


def _error_type(body: bytes) -> str:
    try:
        return str(json.loads(body)["errorType"])
    except (ValueError, KeyError, TypeError):
        return "Runtime.Unknown"


def error_answer(error_type: str, message: str) -> RuntimeResponse:
    """Make the answer of a function that could not give one itself."""
    return RuntimeResponse(json.dumps({"errorType": error_type, "errorMessage": message}).encode(), error_type)
