"""The page of mirrors as a file, drawn from the records that the demo left behind."""

from pathlib import Path

from local.demo.stage import Stage
from pullahead.aws.records import DynamoRecords
from pullahead.dashboard.page import file_page
from pullahead.dashboard.show import take_snapshot

PAGE = Path(__file__).parents[2] / ".build/demo/mirrors.html"


def write_page(stage: Stage) -> Path:
    """Write the page that the dashboard's widget would show, and say where."""
    records = DynamoRecords(stage.aws.client("dynamodb"), stage.stack.outputs["RecordsTableName"])
    snapshot = take_snapshot(records, stage.clock())
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(file_page(snapshot, "Pullahead: mirrors"), encoding="utf-8")
    return PAGE
