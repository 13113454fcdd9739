"""The index of architecture decisions lists each of them, by the title that it has."""

import re

from tests.architecture.source import ROOT

ADRS = ROOT / "docs" / "adr"
HEADER = re.compile(
    r"# ADR (\d+): (.+)\n\nDate: \d{4}-\d\d-\d\d · Status: (?:accepted|superseded by ADR \d+) · Reversible: .+\n"
)


def test_every_adr_has_the_header_of_the_template_and_a_row_in_the_index() -> None:
    index = (ADRS / "README.md").read_text(encoding="utf-8")
    rows = []
    for path in sorted(ADRS.glob("0*.md")):
        header = HEADER.match(path.read_text(encoding="utf-8"))
        assert header is not None, f"{path.name}: the header is not the template's"
        assert int(path.name[:4]) == int(header[1])
        rows.append(f"| [{header[1]}]({path.name}) | {header[2]} |")
    assert re.findall(r"^\| \[\d+\].*$", index, re.MULTILINE) == rows
