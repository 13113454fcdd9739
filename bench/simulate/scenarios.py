"""What is simulated: mirrors of six hosts, how their tags move, and what goes wrong; and what came of it."""

import math
from datetime import timedelta
from typing import NamedTuple

from bench.costs import ASSUMED, CALLS, Use, cost_of, recording_cost, use_of
from bench.simulate.service import Settings, SimulatedService, Used
from bench.simulate.world import START, Fault, Host, SimulatedWorld, Tag, percentile
from pullahead.oci import Repository
from pullahead.rules.model import NO_REFERRERS, Rule, Rules, UpstreamSettings
from pullahead.rules.named_mirrors import NamedMirrors
from pullahead.rules.request_rates import rate_of
from pullahead.rules.sources.combine import gather_rules
from pullahead.rules.sources.findings import Findings
from pullahead.rules.tag_patterns import TagSelection

EVERY = timedelta(minutes=15)
HUB, PUBLIC, GHCR, QUAY = "docker.io", "public.ecr.aws", "ghcr.io", "quay.io"
PRIVATE, OTHER = "registry.example.com", "registry.example.net"
_MONTH_SECONDS = 730 * 3600.0
_SCHEDULE_GB, _SCHEDULE_SECONDS = 1.0, 0.6  # MemorySize of schedule_checks; it has four times the CPU of the others


def six_hosts(**faults: tuple[Fault, ...]) -> tuple[Host, ...]:
    """Make the hosts: 60 % private (of two registries) at 0.15 s, 20 % quay.io, 10 % ghcr.io, and the paced ones."""
    return (
        Host(PRIVATE, 0.40, 0.15, faults.get("private", ())),
        Host(OTHER, 0.20, 0.15, faults.get("other", ())),
        Host(QUAY, 0.20, 0.10, faults.get("quay", ())),
        Host(GHCR, 0.10, 0.10, faults.get("ghcr", ())),
        Host(PUBLIC, 0.05, 0.10, faults.get("public", ())),
        Host(HUB, 0.05, 0.12, faults.get("hub", ())),
    )


class Scenario(NamedTuple):
    """What is simulated. Seconds are after the start."""

    name: str
    tags: int
    hosts: tuple[Host, ...]
    until: float = 5400.0
    measured_from: float = 1800.0
    begins_fresh: bool = True
    moves_a_day: float = 0.2  # of each tag
    by_event: float = 0.3  # so much of the moves
    flood: tuple[str, int, float] | None = None  # a host, how many of its tags move, and when
    settings: Settings = Settings()


class HostResult(NamedTuple):
    """What came of the tags of one host."""

    host: str
    tags: int
    check_every: float
    limit_allows: float  # at the registry's whole rate each tag had its turn after so many seconds; nan: it has no rate
    checked: int  # tags, at least once while it was measured
    heads: int
    age_p99: float
    age_max: float
    lag_p50: float
    lag_p99: float
    lag_max: float
    event_p50: float
    event_p99: float
    event_max: float
    refresh_p99: float
    fewest_checks: int
    most_checks: int


class Result(NamedTuple):
    """What came of a scenario. USD are for a month, of checks alone."""

    scenario: Scenario
    hosts: tuple[HostResult, ...]
    used: Used
    utilisation: float
    usd: float
    usd_per_thousand: float
    usd_with_trail: float  # for 1,000 tags, where a second trail of CloudTrail records ECR's calls
    finished: float | None  # when the flood, or the first deployment, was done; None: not yet, or there was none
    left: int  # of it


def simulate(scenario: Scenario) -> Result:
    """Run a scenario."""
    world = SimulatedWorld(scenario.hosts)
    rules = _rules(scenario)
    service = SimulatedService(rules, world, scenario.settings)
    for mirror in rules.mirrors:
        world.tags[str(mirror.upstream)] = Tag(world.hosts[mirror.upstream.repository.registry])
    if scenario.begins_fresh:
        service.begin_fresh()
    flooded = _let_tags_move(scenario, rules, service)
    used = service.run(scenario.until, scenario.measured_from)
    hosts = tuple(_host_result(host, rules, world) for host in scenario.hosts)
    awaited = flooded if scenario.begins_fresh else [str(mirror.key) for mirror in rules.mirrors]
    begun = START + (scenario.flood[2] if scenario.flood is not None else 0.0)
    done = [at for key in awaited if (at := service.finished_at.get(key, 0.0)) >= begun]
    finished = max(done) - begun if awaited and len(done) == len(awaited) else None
    use = _use(scenario, used)
    usd = sum(cost_of(use).values())
    busy = used.busy_seconds / (used.seconds * scenario.settings.concurrency)
    per_thousand, trail = usd / scenario.tags * 1000, recording_cost(use)[0] / scenario.tags * 1000
    left = len(awaited) - len(done)
    return Result(scenario, hosts, used, busy, usd, per_thousand, per_thousand + trail, finished, left)


def _rules(scenario: Scenario) -> Rules:
    """Make rules of ten tags each."""
    rules = []
    for host in scenario.hosts:
        for number in range(round(scenario.tags * host.share / ASSUMED.tags_per_repository)):
            path = f"team-{number % 97}/app-{number}"
            names = tuple(f"1.{tag}" for tag in range(ASSUMED.tags_per_repository))
            repository = f"mirror/{host.name}/{path}"
            rules.append(
                Rule(
                    f"{host.name}/{path}", Repository(host.name, path), repository, TagSelection(names), EVERY,
                    timedelta(hours=6), referrers=NO_REFERRERS,
                )
            )  # fmt: skip
    upstreams = (UpstreamSettings(HUB),)
    declared = Rules(NamedMirrors(rules), upstreams, "simulated", tuple(rules))
    return gather_rules(declared, Findings()).rules


def _let_tags_move(scenario: Scenario, rules: Rules, service: SimulatedService) -> list[str]:
    """Plan moves at random, and the flood; return the mirrors of the flood."""
    random, mirrors = service.world.random, list(rules.mirrors)
    for _ in range(int(len(mirrors) * scenario.moves_a_day * scenario.until / 86_400)):
        mirror, by_event = random.choice(mirrors), random.random() < scenario.by_event
        at = START + random.uniform(0, scenario.until)
        service.at(at, "move", (mirror.key, str(mirror.upstream), by_event))
    if scenario.flood is None:
        return []
    host, count, at = scenario.flood
    flooded = [mirror for mirror in mirrors if mirror.upstream.repository.registry == host][:count]
    for mirror in flooded:
        service.at(START + at, "move", (mirror.key, str(mirror.upstream), False))
    return [str(mirror.key) for mirror in flooded]


def _host_result(host: Host, rules: Rules, world: SimulatedWorld) -> HostResult:
    seen = world.seen[host.name]
    tags = [tag for tag in world.tags.values() if tag.host is host]
    checked = [tag for tag in tags if tag.asked_at is not None and tag.asked_at >= world.measured_from]
    every = next(
        each.check_every for each in rules.named_mirrors.groups if each.upstream.registry == host.name
    ).total_seconds()
    rate = rate_of(host.name, None)
    return HostResult(
        host.name,
        len(tags),
        every,
        len(tags) / rate.per_second if rate is not None else math.nan,
        len(checked),
        seen.heads,
        percentile(seen.ages, 0.99),
        percentile(seen.ages, 1.0),
        percentile(seen.lags, 0.5),
        percentile(seen.lags, 0.99),
        percentile(seen.lags, 1.0),
        percentile(seen.event_lags, 0.5),
        percentile(seen.event_lags, 0.99),
        percentile(seen.event_lags, 1.0),
        percentile(seen.refresh_lags, 0.99),
        min(tag.checks for tag in tags),
        max(tag.checks for tag in tags),
    )


def _use(scenario: Scenario, used: Used) -> Use:
    """Extend what was used to a month, with the schedule and the review as `bench.costs` has them."""
    months = _MONTH_SECONDS / used.seconds
    steady = use_of(scenario.tags, 15)
    runs = _MONTH_SECONDS / 300
    scans = _MONTH_SECONDS / 86_400  # of all records; the reviews between them read an index
    reviewing = runs * ASSUMED.review_seconds + scans * ASSUMED.scan_seconds_per_thousand * scenario.tags / 1000
    scan = scenario.tags * ASSUMED.record_kilobytes / 4 / 2
    return steady._replace(
        lambda_gb_seconds=months * used.busy_seconds * ASSUMED.function_gb
        + runs * _SCHEDULE_SECONDS * _SCHEDULE_GB
        + reviewing * ASSUMED.review_gb,
        lambda_requests=months * used.invocations + runs * 2,
        sqs_requests=months * (used.messages / 10 + 2 * used.invocations)
        + ASSUMED.idle_polls_per_minute * _MONTH_SECONDS / 60,
        read_units=months * used.read_units
        + scans * scan
        + runs * (CALLS.read_units_of_review + CALLS.read_units_of_schedule),
        write_units=months * used.write_units,
        management_events=months * used.describe_images + runs * ASSUMED.source_calls,
    )
