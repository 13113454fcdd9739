"""The dashboard as deployed: its widget's function draws what checks and refreshes left behind."""

import json
from typing import Any

from local.images import make_image
from tests.scenarios.scene import Scene


def ask(scene: Scene, **event: Any) -> str:
    """Call the function as the dashboard does: with the endpoint that the widget names."""
    aws, stack = scene.deployment.aws, scene.deployment.stack
    body = aws.client("cloudwatch").get_dashboard(DashboardName=stack.resources["Dashboard"])["DashboardBody"]
    (endpoint,) = [
        widget["properties"]["endpoint"] for widget in json.loads(body)["widgets"] if widget["type"] == "custom"
    ]
    answer = aws.client("lambda").invoke(FunctionName=endpoint, Payload=json.dumps(event).encode())
    assert "FunctionError" not in answer
    shown: str = json.loads(answer["Payload"].read())
    return shown


def test_refreshed_mirror_is_shown_as_fresh(scene: Scene) -> None:
    scene.serve(make_image([1000], seed=1))
    scene.check()
    page = ask(scene, show={"state": "FRESH", "prefix": scene.repository})
    assert f"{scene.repository.replace('/', '/<wbr>')}:<wbr>1.0" in page
    assert "console.aws.amazon.com/states/home?region=eu-west-1#/v2/executions/details/arn:aws:states:" in page
    assert ask(scene, describe=True).startswith("## Pullahead")
