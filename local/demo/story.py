"""The steps of the demo. Each one does something from outside and then compares what the service made of it."""

from datetime import timedelta

from local.aws.pool import Invocation
from local.demo.admission import tell_admission
from local.demo.cached import CachedMirror, tell_cached
from local.demo.deviation import DeviationError, expect
from local.demo.lag import tell_lag
from local.demo.page import write_page
from local.demo.screen import Bar, Screen
from local.demo.stage import ALERT_AFTER, CHECK_EVERY, REPOSITORY, Stage
from local.demo.states import tell_states
from local.images import LocalImage, SparseBlob, make_image, make_index
from local.registry import FakeRegistry
from pullahead.mirrors.record import LastRefresh, MirrorRecord, State
from pullahead.oci import Digest, short

_LARGE_LAYER_BYTES = 96 * 1024 * 1024
_UPSTREAM_BYTES_PER_SECOND = 3 * 1024 * 1024


class Story:
    """The demo's steps on one stage."""

    def __init__(self, stage: Stage, screen: Screen) -> None:
        self._stage, self._screen = stage, screen
        self._name = f"{REPOSITORY}:{stage.tag}"
        self._refreshes: list[LastRefresh] = []
        self._cached: list[CachedMirror] = []

    def tell(self) -> None:
        """Run every step for this upstream. Raises DeviationError."""
        if self._stage.fake is not None:
            self._stage.fake.push(_first_image(), "shop/web", self._stage.tag)
            self._stage.fake.limit_bytes_per_second = _UPSTREAM_BYTES_PER_SECOND
        self._first_copy()
        self._pull_back()
        if self._stage.fake is not None:
            self._upstream_moves(self._stage.fake)
        self._somebody_overwrites()
        if self._stage.fake is not None:
            self._upstream_breaks(self._stage.fake)
            self._cached = tell_cached(self._stage, self._screen, self._stage.fake)
            self._refreshes += tell_lag(self._stage, self._screen, self._stage.fake)
            tell_admission(self._stage, self._screen, self._stage.fake)
        else:
            self._screen.say("A real upstream can be neither moved nor broken from here; those steps are left out.")
        self._sum_up()
        if self._stage.fake is not None:
            tell_states(self._stage, self._screen, self._stage.fake)
        self._screen.say(f"The dashboard's page of mirrors, as a file: {write_page(self._stage)}")

    def _first_copy(self) -> None:
        self._screen.step("The first check: the tag is in the rules and not in ECR")
        expect(self._stage.published() is None, f"{self._name} is in ECR before anything was copied")
        self._screen.say(f"upstream  {self._stage.upstream}")
        self._screen.say(f"ECR       {self._name}: not there")
        self._screen.say("The schedule fires: schedule_checks → queue → check_freshness → refresh state machine")
        self._stage.on_invocation = self._say_invocation
        with self._screen.bar("copy_blobs, round 1", self._total_bytes()) as bar:
            self._watch_parts(bar)
            self._stage.tick()
        self._fresh_record()
        self._screen.proved(f"the check found it {State.MISSING.value} and started a refresh")
        rounds = self._stage.rounds()
        if self._stage.fake is not None:
            expect(rounds >= 2, "the unit was done in one round; it should have gone round again")
        copied = self._refreshes[-1].bytes_copied
        self._screen.proved(f"copied {_mib(copied)}; copy_blobs went round {_times(rounds)}")
        self._screen.proved(f"{self._name} → {short(self._published())}, state FRESH")

    def _pull_back(self) -> None:
        self._screen.step("Pull it back from ECR with a plain OCI client")
        pulled = self._stage.client().pull(REPOSITORY, self._stage.tag)
        wanted = self._upstream_digest()
        expect(pulled.digest == wanted, f"pulled {pulled.digest} while upstream serves {wanted}")
        self._screen.say(f"{pulled.manifests} manifests, {pulled.blobs} blobs, {_mib(pulled.bytes)}: every byte hashed")
        self._screen.proved(f"digest {short(pulled.digest)} equals upstream's")

    def _upstream_moves(self, upstream: FakeRegistry) -> None:
        self._screen.step("Upstream moves the tag")
        upstream.push(_second_image(), "shop/web", self._stage.tag)
        self._screen.say(f"upstream  now {short(self._upstream_digest())}; the large layer is the same as before")
        self._screen.say(f"{_minutes(CHECK_EVERY)} pass; the schedule fires")
        self._stage.tick(CHECK_EVERY)
        self._fresh_record()
        copied = self._refreshes[-1].bytes_copied
        expect(copied < _LARGE_LAYER_BYTES, f"{_mib(copied)} were copied although most of it was there already")
        self._screen.proved(f"{self._name} → {short(self._published())}; only {_mib(copied)} had to be copied")

    def _somebody_overwrites(self) -> None:
        self._screen.step("Somebody overwrites the tag in ECR")
        intruder = make_image([2048], seed=666)
        ticks = self._count_function("ScheduleChecks")
        self._stage.client().push(intruder, REPOSITORY, self._stage.tag)
        self._screen.say(f"{self._name} → {short(intruder.digest)}, pushed by hand; no schedule fires")
        self._stage.settle()
        expect(
            self._count_function("ScheduleChecks") == ticks, "the schedule fired; the push event should have done it"
        )
        self._fresh_record()
        self._screen.proved(f"ECR's push event made it right again: {self._name} → {short(self._published())}")
        self._show_one_alert("Drift", "was overwritten in ECR and restored")

    def _upstream_breaks(self, upstream: FakeRegistry) -> None:
        self._screen.step(f"Upstream breaks, for longer than alert_after ({_minutes(ALERT_AFTER)})")
        upstream.down = True
        self._stage.tick(CHECK_EVERY)
        self._expect_state(State.UNKNOWN)
        expect(not self._stage.alerts(), "an alert came before alert_after")
        self._screen.say(
            "state UNKNOWN: upstream does not answer. ECR goes on serving what it has; no alert is sent yet"
        )
        self._screen.say(f"{_minutes(ALERT_AFTER)} pass; the schedule fires")
        self._stage.tick(ALERT_AFTER)
        self._show_one_alert("UPSTREAM", "requests to upstream fail")
        self._stage.tick(CHECK_EVERY)
        expect(not self._stage.alerts(), "the same alert came twice")
        self._screen.proved("the next check says nothing more: an alert is sent once")

        self._screen.step("Upstream recovers")
        upstream.down = False
        self._stage.tick(CHECK_EVERY)
        self._expect_state(State.FRESH)
        self._show_one_alert("Recovered", "is fresh again")

    def _sum_up(self) -> None:
        record = self._fresh_record()
        failed = [execution["name"] for execution in self._stage.executions() if execution["status"] != "SUCCEEDED"]
        expect(not failed, f"executions failed: {failed}")
        row = (
            self._name,
            record.state.value,
            short(self._upstream_digest()),
            short(self._published()),
            f"{max(refresh.lag_seconds for refresh in self._refreshes):.1f} s",
            _mib(sum(refresh.bytes_copied for refresh in self._refreshes)),
        )
        columns = ("tag", "state", "upstream digest", "ECR digest", "lag", "bytes")
        count = len(self._refreshes) + len(self._cached)
        rows = [row, *map(_row, self._cached)]
        self._screen.table(f"After {count} refreshes (lag: the longest; bytes: all together)", columns, rows)

    # --- looking ------------------------------------------------------------------------------------------------

    def _fresh_record(self) -> MirrorRecord:
        record = self._expect_state(State.FRESH)
        published, wanted = self._published(), self._upstream_digest()
        expect(published == wanted, f"ECR serves {published}, upstream {wanted}")
        refresh = record.last_refresh
        if refresh is None:
            raise DeviationError(f"{self._name} is fresh without a refresh")
        if refresh not in self._refreshes:
            self._refreshes.append(refresh)
        return record

    def _expect_state(self, state: State) -> MirrorRecord:
        record = self._stage.record()
        if record is None:
            raise DeviationError(f"{self._name} has no record")
        expect(record.state is state, f"{self._name} is {record.state.value}, not {state.value}: {record.error or ''}")
        return record

    def _published(self) -> Digest:
        published = self._stage.published()
        if published is None:
            raise DeviationError(f"{self._name} is not in ECR")
        return published

    def _upstream_digest(self) -> Digest:
        if self._stage.fake is not None:
            manifest = self._stage.fake.content.find_manifest("shop/web", self._stage.tag)
            if manifest is not None:
                return manifest.descriptor.digest
        record = self._stage.record()
        if record is None or record.upstream_digest is None:
            raise DeviationError("upstream's digest is not known")
        return record.upstream_digest

    def _show_one_alert(self, kind: str, phrase: str) -> None:
        alerts = self._stage.alerts()
        expect(len(alerts) == 1, f"{len(alerts)} alerts came where one {kind} was due: {alerts}")
        expect(phrase in alerts[0].subject, f"the alert says {alerts[0].subject!r}")
        self._screen.show(f"SNS: {alerts[0].subject}", alerts[0].text)

    def _say_invocation(self, invocation: Invocation) -> None:
        name = self._stage.function_name(invocation)
        brought = ""
        if name == "copy_blobs" and isinstance(invocation.payload, dict):
            done = "done" if invocation.payload.get("done") else "out of time, another round follows"
            brought = f": {_mib(int(invocation.payload.get('bytes_copied', 0)))}, {done}"
        self._screen.say(
            f"[dim]· {name} {invocation.outcome.lower()} in {invocation.duration_seconds:.1f} s{brought}[/]"
        )

    def _watch_parts(self, bar: Bar) -> None:
        def moved(call: object) -> None:
            parameters = getattr(call, "parameters", {})
            first, last = parameters.get("partFirstByte", 0), parameters.get("partLastByte", 0)
            if first <= last and last - first > 0:
                bar.advance(last - first + 1)
                bar.rename(f"copy_blobs, round {self._stage.rounds() + 1}")

        self._stage.aws.ecr.faults.before("UploadLayerPart", moved)

    def _total_bytes(self) -> int:
        return sum(len(blob) for blob in _first_image().blobs.values()) if self._stage.fake is not None else 0

    def _count_function(self, name: str) -> int:
        return sum(name in invocation.function for invocation in self._stage.aws.invocations)


def _row(mirror: CachedMirror) -> tuple[str, ...]:
    digest, refresh = short(mirror.digest), mirror.refresh
    return mirror.key, State.FRESH.value, digest, digest, f"{refresh.lag_seconds:.1f} s", _mib(refresh.bytes_copied)


def _first_image() -> LocalImage:
    return _image(seed=1)


def _second_image() -> LocalImage:
    return _image(seed=2)


def _image(seed: int) -> LocalImage:
    large = SparseBlob(_LARGE_LAYER_BYTES, seed=99)
    return make_index(
        [
            make_image([large, 300_000], seed=seed),
            make_image([1_500_000], seed=seed + 10, platform="linux/arm64"),
        ]
    )


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _mib(count: int) -> str:
    return f"{count / 1024 / 1024:.1f} MiB"


def _minutes(span: timedelta) -> str:
    return f"{span.total_seconds() / 60:.0f} minutes"
