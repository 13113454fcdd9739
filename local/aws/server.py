"""The local AWS as one object: a server on the loopback address, and the hands on everything behind it.

Puts the parts together; each part decides its own matters in its own module.

moto keeps its state in module globals, so there is one LocalAws in a process at a time, and starting one forgets
what an earlier one held.
"""

import functools
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Final, Self, cast

import boto3
from botocore.config import Config
from werkzeug.serving import BaseWSGIServer, make_server

from local.aws import (
    ACCESS_KEY,
    REGION,
    SECRET_KEY,
    cloudformation,
    dynamodb,
    function_urls,
    moto_guard,
    policy_simulation,
)
from local.aws.activity import Activity
from local.aws.concurrency import AccountConcurrency
from local.aws.events import EventBus
from local.aws.execution_events import ExecutionEvents
from local.aws.functions import Functions
from local.aws.lambda_sandbox import SandboxDirs
from local.aws.pool import FunctionPool, Invocation
from local.aws.queues import QueuePollers
from local.aws.recorded_calls import RecordedCall, RecordedCalls, access_key_of
from local.aws.runtime_directory import runtime_directory
from local.aws.service_faults import ServiceFaults
from local.aws.stepfunctions import StateMachines
from local.aws.ticker import Ticker
from local.aws.topics import Topics
from local.clock import LocalClock

HOST: Final = "127.0.0.1"
_IDLE_POLL_SECONDS: Final = 0.02
_LONGEST_FUNCTION_SECONDS: Final = 900
_SIGN: Final = "signer:SignPayload"


class NotIdleError(TimeoutError):
    """Something was still under way when the time was up."""


class LocalAws:
    """moto, the strict ECR and what moto lacks, in this process.

    `redelivery_seconds` brings a message that failed back that soon, instead of after its queue's visibility timeout by
    the local clock. `wait_scale` multiplies the waits between attempts of state machines and of asynchronous
    invocations, and Wait states; their other timeouts stay as they are. `concurrency_limit` is the account's: how many
    invocations run at once before Lambda throttles.
    """

    _running: ClassVar[threading.Lock] = threading.Lock()

    def __init__(
        self,
        data_dir: Path,
        port: int = 0,
        *,
        redelivery_seconds: int | None = None,
        wait_scale: float = 1.0,
        concurrency_limit: int | None = None,
        on_invocation: Callable[[Invocation], None] = lambda _: None,
    ) -> None:
        moto_guard.check_version()
        self._data_dir = data_dir.resolve()
        self._port = port
        self._redelivery_seconds = redelivery_seconds
        self._wait_scale = wait_scale
        self._on_invocation = on_invocation
        self._stopping = threading.Event()
        self._server: BaseWSGIServer | None = None
        self._session = boto3.Session(region_name=REGION)
        self._clients: dict[str, Any] = {}
        self._making_clients = threading.Lock()
        self.clock = LocalClock(self._data_dir / "clock")
        self.recorded_calls = RecordedCalls()
        self.concurrency = AccountConcurrency(concurrency_limit)
        self.service_faults = ServiceFaults()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def port(self) -> int:
        """Return the port that the server listens on."""
        if self._server is None:
            raise RuntimeError("the local AWS is not running")
        return int(self._server.port)

    @property
    def url(self) -> str:
        """Return the endpoint of every service."""
        return f"http://{HOST}:{self.port}"

    @property
    def invocations(self) -> list[Invocation]:
        """Return what functions ran, oldest first."""
        return self._pool.invocations

    @property
    def bus(self) -> EventBus:
        """Return the default event bus."""
        return self._bus

    @property
    def topics(self) -> Topics:
        """Return the topics of SNS."""
        return self._topics

    def client(self, service: str) -> Any:
        """Return a boto3 client of this AWS, the same one every time."""
        with self._making_clients:  # a session is not safe on threads, what it makes is
            if service not in self._clients:
                self._clients[service] = self._make_client(service)
            return self._clients[service]

    def kill_function(self, name: str) -> int:
        """Kill the processes that run a function at this moment, as a lost machine would; return how many."""
        return self._pool.kill_running(name)

    def start(self) -> None:
        """Start the server with nothing in it.

        Raises:
            RuntimeError: another local AWS runs in this process.
        """
        if not LocalAws._running.acquire(blocking=False):
            raise RuntimeError("moto's state is one per process: stop the other LocalAws first")
        try:
            self._start()
        except BaseException:
            LocalAws._running.release()
            raise

    def stop(self) -> None:
        """Stop everything that was started, and kill the functions' processes."""
        from local.stacks import uninstall as uninstall_stacks

        if self._server is None:
            return
        self._stopping.set()
        self.ticker.stop()
        self._execution_events.close()
        self._machines.close()
        self._bus.close()
        self._functions.close()
        self._pool.close()  # what still runs fails now, so that the pollers need not wait for it
        self._pollers.close()
        self._server.shutdown()
        self._server.server_close()
        self._server = None
        uninstall_stacks()
        moto_guard.restore()
        _forget_everything()  # moto itself could not deliver to the targets of rules that were made here
        LocalAws._running.release()

    def wait_idle(self, timeout_seconds: float = 30.0, *, hidden_ok: bool = False) -> None:
        """Wait until no function and no execution runs and no queue with a function holds a message that is due.

        Messages that failed stay hidden until the clock passes their visibility timeout; with `hidden_ok` they do not
        count.

        Raises:
            NotIdleError: the time is up; it says what is still busy.
        """
        deadline = time.monotonic() + timeout_seconds
        while True:
            begun = self._activity.begun
            busy = self.busy(hidden_ok=hidden_ok)
            if not busy and begun == self._activity.begun:  # nothing was handed on while we looked
                return
            if time.monotonic() > deadline:
                raise NotIdleError(f"after {timeout_seconds} s still busy: {', '.join(busy)}")
            time.sleep(_IDLE_POLL_SECONDS)

    def busy(self, *, hidden_ok: bool = False) -> list[str]:
        """Name what is under way at this moment."""
        ready, hidden = self._pollers.waiting()
        return [*self._activity.busy(), *self._machines.running(), *ready, *([] if hidden_ok else hidden)]

    def _start(self) -> None:
        from local.ecr import install as install_ecr
        from local.ecr.v2 import V2Application
        from local.stacks import install as install_stacks

        _forget_everything()
        runtime = runtime_directory()
        self._data_dir.mkdir(parents=True, exist_ok=True)
        self._activity = Activity()

        def make_place(task: Path, opt: Path, scratch: Path) -> SandboxDirs:
            return SandboxDirs(task, opt, runtime, scratch, self.clock.path, self.url)

        self._pool = FunctionPool(
            self._data_dir / "functions", make_place, self._activity, self._on_invocation, self.concurrency
        )
        self._bus = EventBus(self.client, self._activity, self.clock.now)
        self._functions = Functions(self._pool, self._activity, self._bus.send, self._wait)
        self._pollers = QueuePollers(
            self._functions.run_by_arn, self._activity, self.clock.now, self._redelivery_seconds, self._wait
        )
        self._machines = StateMachines(self._client_of_role, self.clock.now, self._wait)
        self._execution_events = ExecutionEvents(self._bus.publish, self._activity, self.clock.now)
        self.ticker = Ticker(self._bus, self.clock.now)
        self._topics = Topics()
        self._install()
        install_stacks(lambda: self.url)
        self.ecr = install_ecr(self._data_dir / "ecr", lambda: self.url, self.clock.now, self._bus.publish)
        self.ecr.signing.may_sign = self._may_sign
        urls = function_urls.FunctionUrls(self._functions.run)
        self._server = _serve(
            self._port,
            lambda moto: self.service_faults.before(
                urls.before(self.recorded_calls.before(V2Application(moto, self.ecr)))
            ),
        )

    def _install(self) -> None:
        cloudformation.install()
        dynamodb.install()
        function_urls.install(lambda: self.url)
        policy_simulation.install()
        parts = (self._functions, self._bus, self._topics, self._pollers, self._machines, self._execution_events)
        for part in parts:
            part.install()

    def _may_sign(self, role: str, profile: str) -> bool:
        """Judge what ECR asks for in the name of whoever pushes; all other calls are judged by the tests alone."""
        self.recorded_calls.add(RecordedCall(role, _SIGN, profile, REGION))
        return policy_simulation.role_may(role, _SIGN, profile)

    def _wait(self, seconds: float) -> bool:
        """Wait as long as a service would, scaled; True when the local AWS is being stopped."""
        return self._stopping.wait(seconds * self._wait_scale)

    def _client_of_role(self, service: str, role_arn: str) -> Any:
        with self._making_clients:
            return self._make_client(service, attempts=1, access_key=access_key_of(role_arn))

    def _make_client(self, service: str, attempts: int = 2, access_key: str = ACCESS_KEY) -> Any:
        config = Config(
            retries={"total_max_attempts": attempts},
            connect_timeout=5,
            read_timeout=_LONGEST_FUNCTION_SECONDS + 30,
            max_pool_connections=64,
            s3={"addressing_style": "path"},
        )
        return self._session.client(
            cast("Any", service),
            endpoint_url=self.url,
            aws_access_key_id=access_key,
            aws_secret_access_key=SECRET_KEY,
            config=config,
        )


def _forget_everything() -> None:
    moto_guard.take("moto.core.base_backend", "BackendDict").reset()


def _serve(port: int, wrap: Callable[[Any], Any]) -> BaseWSGIServer:
    application = moto_guard.take("moto.server", "DomainDispatcherApplication")(
        moto_guard.take("moto.server", "create_backend_app")
    )

    # Who answers a host is found in moto's folders and some 200 patterns, anew for each request.
    application.get_backend_for_host = functools.lru_cache(maxsize=256)(application.get_backend_for_host)

    class QuietHandler(moto_guard.take("moto.server", "MotoRequestHandler")):  # type: ignore[misc]
        protocol_version = "HTTP/1.1"  # for answers whose length is not known beforehand

        def log_request(self, *_: object) -> None:
            """Say nothing of requests that went well or were refused: the clients do."""

        def log_error(self, *_: object) -> None:
            """Say nothing of what is no HTTP either: clients of registries try TLS first."""

    server = make_server(HOST, port, wrap(application), threaded=True, request_handler=QuietHandler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True, name="local-aws").start()
    return server
