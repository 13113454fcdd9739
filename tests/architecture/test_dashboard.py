"""The CloudWatch dashboard of the template: it is JSON, it fits, and it draws what is emitted."""

import ast
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.architecture.sam_template import FUNCTION, Template, real_template
from tests.architecture.source import ROOT, sources

SEARCH = re.compile(
    r"SEARCH\('\{Pullahead,(?P<dimensions>[a-z,]+)\} MetricName=\"(?P<name>\w+)\" service=\"<AWS::StackName>\"'"
)
"""Amazon CloudWatch User Guide, "CloudWatch search expression syntax"."""

WIDTH = 24
"""Amazon CloudWatch User Guide, "Dashboard body structure and syntax": a grid 24 columns wide."""

Widget = dict[str, Any]


def body(template: Template) -> str:
    """Give the text as it is where every condition holds."""
    (dashboard,) = template.resources("AWS::CloudWatch::Dashboard").values()
    text, optional = dashboard["DashboardBody"]["Fn::Sub"]
    for name, value in optional.items():
        text = text.replace(f"${{{name}}}", value["Fn::If"][1]["Fn::Sub"])
    return str(text)


def widgets(template: Template) -> list[Widget]:
    """Parse the body with a name in the place of every token."""
    found: list[Widget] = json.loads(re.sub(r"\$\{([^}]+)\}", r"<\1>", body(template)))["widgets"]
    return found


def drawn(template: Template) -> set[str]:
    """Name our own metrics that some graph shows."""
    return {metric[1] for metric in graphed(template) if metric[0] == "Pullahead"} | searched(template).keys()


def graphed(template: Template) -> list[list[Any]]:
    """List every line of every graph."""
    graphs = (widget["properties"]["metrics"] for widget in widgets(template) if widget["type"] == "metric")
    return [metric for metrics in graphs for metric in metrics]


def searched(template: Template) -> dict[str, set[str]]:
    """Name the metrics that are searched for, with the dimensions that they are to have."""
    expressions = (metric[0]["expression"] for metric in graphed(template) if isinstance(metric[0], dict))
    found = (SEARCH.match(expression) for expression in expressions)
    return {match["name"]: set(match["dimensions"].split(",")) for match in found if match is not None}


def additions() -> Iterator[ast.Call]:
    """Find where any function adds a metric."""
    for file in sources():
        if file.path.parts[0] in {"functions", "layers"} and "add_metric" in file.text:
            for node in ast.walk(file.tree):
                if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("add_metric"):
                    yield node


def emitted() -> set[str]:
    """Name what any function adds as a metric."""
    found = {each.value for node in additions() for each in ast.walk(node) if isinstance(each, ast.Constant)}
    return {name for name in found if isinstance(name, str)}


def metric_findings(template: Template, emits: set[str]) -> Iterator[str]:
    """Find graphs of nothing."""
    for name in sorted(drawn(template) - emits):
        yield f"{name} is drawn, and nothing emits it"


def place_findings(found: list[Widget]) -> Iterator[str]:
    """Find widgets that lie over each other or outside of the grid."""
    taken: dict[tuple[int, int], str] = {}
    for widget in found:
        title = widget["properties"]["title"]
        columns = range(widget["x"], widget["x"] + widget["width"])
        if columns.stop > WIDTH:
            yield f"{title} is out of the grid"
        for column in columns:
            for row in range(widget["y"], widget["y"] + widget["height"]):
                other = taken.setdefault((column, row), title)
                if other != title:
                    yield f"{title} lies over {other}"


def test_every_metric_drawn_is_emitted() -> None:
    assert list(metric_findings(real_template(), emitted())) == []
    assert {"Checks", "BytesCopied", "UpstreamRequests", "StaleTags"} <= emitted() & drawn(real_template())


def test_every_metric_emitted_is_drawn() -> None:
    assert {name for name in emitted() if name[0].isupper()} - drawn(real_template()) == set()


def test_every_metric_emitted_is_documented() -> None:
    documented = set(re.findall(r"`(\w+)`", (ROOT / "docs/operating.md").read_text()))
    assert emitted() <= documented


def test_wrong_metrics_are_found() -> None:
    template = real_template()
    assert list(metric_findings(template, emitted() - {"Checks"})) == ["Checks is drawn, and nothing emits it"]
    assert list(metric_findings(template, emitted() - {"Failures"})) == ["Failures is drawn, and nothing emits it"]


def test_metrics_have_the_dimension_that_functions_emit_them_with_the_name_of_the_stack() -> None:
    functions = list(real_template().resources(FUNCTION).values())
    service = functions[0]["Environment"]["Variables"]["POWERTOOLS_SERVICE_NAME"]
    assert all(each["Environment"]["Variables"]["POWERTOOLS_SERVICE_NAME"] == service for each in functions)
    ours = [metric for metric in graphed(real_template()) if metric[0] == "Pullahead"]
    assert service == {"Ref": "AWS::StackName"}
    assert {tuple(metric[2:4]) for metric in ours} == {("service", "<AWS::StackName>")}
    alarms = real_template().resources("AWS::CloudWatch::Alarm").values()
    watched = [alarm["Dimensions"] for alarm in alarms if alarm.get("Namespace") == "Pullahead"]
    assert watched == [[{"Name": "service", "Value": service}]] * len(watched)
    assert watched


def test_metrics_are_searched_for_with_the_dimensions_that_they_have() -> None:
    emits = {
        node.args[0].value: {"service", *(keyword.arg or "" for keyword in node.keywords)}
        for node in additions()
        if node.keywords and isinstance(node.args[0], ast.Constant)
    }
    assert searched(real_template()) == emits
    assert emits["UpstreamRequests"] == {"service", "host", "kind"}


def test_alarms_watch_metrics_that_are_emitted() -> None:
    alarms = real_template().resources("AWS::CloudWatch::Alarm").values()
    watched = {alarm["MetricName"] for alarm in alarms if alarm.get("Namespace") == "Pullahead"}
    assert watched == {"OldestStaleSeconds", "Heartbeat", "LimitsReached", "TrustRootProblems"}
    assert watched <= emitted()


def test_widgets_do_not_overlap() -> None:
    found = widgets(real_template())
    assert list(place_findings(found)) == []
    assert list(place_findings([found[0], {**found[0], "properties": {"title": "other"}, "x": 20}]))


def test_every_alarm_is_shown() -> None:
    (shown,) = [widget["properties"]["alarms"] for widget in widgets(real_template()) if widget["type"] == "alarm"]
    assert set(shown) == {f"<{name}.Arn>" for name in real_template().resources("AWS::CloudWatch::Alarm")}


def test_every_function_is_watched_for_errors() -> None:
    for name in real_template().resources(FUNCTION):
        assert f'["AWS/Lambda", "Errors", "FunctionName", "${{{name}}}"]' in body(real_template())


def test_mirrors_widget_calls_its_function() -> None:
    (widget,) = [widget for widget in widgets(real_template()) if widget["type"] == "custom"]
    assert widget["properties"]["endpoint"] == "<ShowMirrorsFunction.Arn>"
    assert widget["properties"]["updateOn"]["refresh"] is True


def test_queries_of_logs_ask_for_what_functions_log() -> None:
    (query,) = [widget["properties"]["query"] for widget in widgets(real_template()) if widget["type"] == "log"]
    assert query.startswith("SOURCE '<PruneTagsLogGroup>' | ")
    (source,) = (file.text for file in sources() if file.path.parts[:2] == ("functions", "prune_tags"))
    words = ["pruned", *query.partition("| fields @timestamp, ")[2].partition(" |")[0].split(", ")]
    assert [word for word in words if f'"{word}"' not in source] == []
    assert f"filter message = '{words[0]}'" in query
    assert len(words) > 5


@pytest.mark.parametrize("kind", ["Ref", "GetAtt"])
def test_body_names_existing_resources_only(kind: str) -> None:
    tokens = re.findall(r"\$\{([^}]+)\}", body(real_template()))
    named = {token.partition(".")[0] for token in tokens if ("." in token) is (kind == "GetAtt")}
    assert named - real_template().document["Resources"].keys() <= {"AWS::Region", "AWS::StackName"}
    assert named
