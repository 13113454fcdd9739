"""Results as a run would have them, with as many figures as a test is about."""

from typing import Any

from bench.results import CaseResult, Machine, Requests, Results, Run, ToolResult


def machine(registry: str = "2.8.2+ds1", **tools: str) -> Machine:
    versions = tools or {"skopeo": "1.9.3"}
    absent = tuple(name for name in ("skopeo", "crane") if name not in versions)
    versions = {**versions, "docker-registry": registry}
    return Machine("2026-01-05 10:00 UTC", "2 x a CPU", "6.1", 16, "a RAM disk", 0.1, versions, absent)


def tool(
    name: str, wall: float, cpu: float = 1.0, rss: float = 20.0, engine: float | None = None, requests: int = 100
) -> ToolResult:
    return ToolResult(name, (Run(wall, cpu, rss, engine),) * 5, Requests(requests - 40, 40))


def case(name: str, *tools: ToolResult, tags: int = 1, bare_loop: ToolResult | None = None) -> CaseResult:
    return CaseResult(name, name, 1_000_000, tools, tags, bare_loop)


def results(*cases: CaseResult, on: Machine | None = None, **others: Any) -> Results:
    return Results(on or machine(), 512, 5, cases, **others)
