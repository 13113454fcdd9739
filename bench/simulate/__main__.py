"""`python -m bench.simulate`: simulate hours of checks in minutes, and print what came of it."""

import argparse
import math
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from bench.costs import between
from bench.simulate.page import plot, table, totals
from bench.simulate.scenarios import OTHER, PRIVATE, QUAY, HostResult, Result, Scenario, simulate, six_hosts
from bench.simulate.world import Fault

DOCS = Path(__file__).parents[2] / "docs"
PAGE, PLOT = DOCS / "operating.md", DOCS / "simulation.svg"
BEGIN, END = "<!-- simulation: written by `make simulate` -->", "<!-- simulation: end -->"
_HOUR = 3600.0
_FAULTY, _FLOODED = 10_000, 20_000

STEADY = tuple(Scenario("steady", tags, six_hosts()) for tags in (1_000, 10_000, 100_000))
FAULTS = (
    Scenario("one dead for 6 hours", _FAULTY, six_hosts(other=(Fault("dead", _HOUR, 7 * _HOUR),)), 7 * _HOUR, _HOUR),
    Scenario("one trickles", _FAULTY, six_hosts(other=(Fault("trickles", _HOUR, 3 * _HOUR),)), 3 * _HOUR, _HOUR),
    Scenario("one answers 429", _FAULTY, six_hosts(quay=(Fault("refuses", _HOUR, 2 * _HOUR),)), 3 * _HOUR, _HOUR),
)
LARGE_FAULTS = (
    STEADY[2],
    Scenario("one dead for an hour", STEADY[2].tags, six_hosts(other=(Fault("dead", 1800.0, 5400.0),))),
    Scenario("one trickles", STEADY[2].tags, six_hosts(other=(Fault("trickles", 1800.0, 5400.0),))),
    Scenario("one answers 429", STEADY[2].tags, six_hosts(quay=(Fault("refuses", 1800.0, 5400.0),))),
)
"""With as many tags as Pullahead is made for, and the hour of the fault measured, as it is without one."""
BURSTS = (
    Scenario("first deployment", 5_000, six_hosts(), 3 * _HOUR, 0.0, begins_fresh=False, moves_a_day=0.0),
    Scenario("5,000 move at once", _FLOODED, six_hosts(), 3.5 * _HOUR, _HOUR, flood=(PRIVATE, 5_000, _HOUR)),
)
_MOST_USD = {("steady", 1_000): 1.5, ("steady", 100_000): 1.0}  # a month, for 1,000 tags
_MOST_USD_WITH_TRAIL = 7.0  # with any number of tags, and beside faults
_FAULTY_HOSTS = {
    scenario.name: host
    for scenarios in (FAULTS, LARGE_FAULTS[1:])
    for scenario, host in zip(scenarios, (OTHER, OTHER, QUAY), strict=True)
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Simulate; 1 if a goal is not reached."""
    parser = argparse.ArgumentParser(prog="python -m bench.simulate", description=__doc__)
    parser.add_argument("--write-docs", action="store_true", help="Write docs/operating.md and its plot anew")
    parser.add_argument("--small", action="store_true", help="Leave out what takes more than a minute")
    parser.add_argument("--large-faults", action="store_true", help="Only faulty registries, with 100,000 tags")
    options = parser.parse_args(arguments)
    if options.write_docs and (options.small or options.large_faults):
        parser.error("--write-docs needs all scenarios of the page")
    scenarios = STEADY[:2] if options.small else (*STEADY, *FAULTS, *BURSTS)
    if options.large_faults:
        scenarios = LARGE_FAULTS
    with ProcessPoolExecutor(2) as processes:
        results = list(processes.map(_simulated, scenarios))
    text = "\n".join((totals(results), "", table(results), "", *changes_beside_faults(results)))
    print(text)
    missed = missed_goals(results)
    print("\n".join(missed) or "every goal is reached")
    if options.write_docs:
        shown = [result for result in results if result.scenario.tags == _FAULTY and result.finished is None]
        PLOT.write_text(plot(shown), encoding="utf-8")
        page = PAGE.read_text(encoding="utf-8")
        PAGE.write_text(
            between(page, BEGIN, END, f"{text}\n\n![Time between checks](simulation.svg)"), encoding="utf-8"
        )
    return 1 if missed else 0


def changes_beside_faults(results: Sequence[Result]) -> list[str]:
    """Say by how much the time between checks of others changes while one registry is faulty."""
    lines = []
    for result in results:
        faulty, compared = _FAULTY_HOSTS.get(result.scenario.name), _without_faults(result, results)
        if faulty is None or not compared:
            continue
        others = [host for host in result.hosts if host.host != faulty]
        changes = [host.age_p99 / compared[host.host].age_p99 - 1 for host in others]
        events = max(host.event_p99 for host in others if not math.isnan(host.event_p99))
        change = f"changes by {min(changes):+.0%} to {max(changes):+.0%}"
        lines.append(
            f"- {result.scenario.name}: the p99 of the time between checks of the others {change}; their lag by event "
            f"is {events:.0f} s at p99."
        )
    return lines


def missed_goals(results: Sequence[Result]) -> list[str]:
    """Say which goals are not reached."""
    missed = []
    for result in results:
        compared = _without_faults(result, results)
        name = f"{result.scenario.name}, {result.scenario.tags:,} tags"
        faulty = _FAULTY_HOSTS.get(result.scenario.name)
        missed += [f"{name}: {usd}" for usd in _missed_costs(result)]
        if result.left:
            missed.append(f"{name}: {result.left:,} mirrors are not copied")
        for host in result.hosts if result.scenario.begins_fresh else ():
            if host.host == faulty:
                continue
            if host.lag_p99 > host.check_every + 60:
                missed.append(f"{name}: lag of {host.host} p99 {host.lag_p99:.0f} s")
            if host.event_p99 > 60:
                missed.append(f"{name}: lag by event of {host.host} p99 {host.event_p99:.0f} s")
            if host.check_every == 900 and host.checked < host.tags:
                missed.append(f"{name}: {host.tags - host.checked:,} tags of {host.host} are not checked")
            if faulty is not None and host.age_p99 > 1.1 * compared[host.host].age_p99:
                missed.append(
                    f"{name}: {host.host} p99 {host.age_p99:.0f} s, {compared[host.host].age_p99:.0f} without"
                )
    return missed


def _without_faults(result: Result, results: Sequence[Result]) -> dict[str, HostResult]:
    """Find what comes of as many tags where no registry is faulty."""
    same = (each for each in results if each.scenario in STEADY and each.scenario.tags == result.scenario.tags)
    return {host.host: host for each in same for host in each.hosts}


def _missed_costs(result: Result) -> Iterator[str]:
    most = _MOST_USD.get((result.scenario.name, result.scenario.tags), math.inf)
    if result.usd_per_thousand > most:
        yield f"{result.usd_per_thousand:.2f} USD for 1,000 tags"
    if result.finished is None and result.usd_with_trail > _MOST_USD_WITH_TRAIL:
        yield f"{result.usd_with_trail:.2f} USD for 1,000 tags with a second trail"


def _simulated(scenario: Scenario) -> Result:
    begun = time.process_time()
    result = simulate(scenario)
    print(f"{scenario.name}, {scenario.tags:,} tags: {time.process_time() - begun:.0f} s", file=sys.stderr, flush=True)
    return result


if __name__ == "__main__":
    sys.exit(main())
