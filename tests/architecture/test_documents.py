"""The documents name files that exist."""

import re
from collections.abc import Iterator

import pytest

from tests.architecture.source import PACKAGE_ROOT, ROOT

FILE = re.compile(r"`([\w./-]+(?:/|\.(?:py|yaml|json|txt|toml|md|css|js|html)))`")
BARE_FILE = re.compile(r"(?<![\w/.])(\w+(?:/\w+)+\.py)\b")
PACKAGE = ROOT / PACKAGE_ROOT / "pullahead"


def missing_files(text: str) -> Iterator[str]:
    """Find the files that a text names, in code or in a drawing, and that are neither in the package nor at the root."""
    for name in dict.fromkeys([*FILE.findall(text), *BARE_FILE.findall(text)]):
        if not (PACKAGE / name).exists() and not (ROOT / name).exists():
            yield name


@pytest.mark.parametrize("document", ["docs/how-it-works.md", "CONTRIBUTING.md", "SECURITY.md"])
def test_files_that_a_document_names_exist(document: str) -> None:
    assert list(missing_files((ROOT / document).read_text(encoding="utf-8"))) == []


def test_missing_file_is_found_in_code_and_in_drawings() -> None:
    text = "`mirrors/judge.py`, `mirrors/jury.py` ─▶ refresh/plan.py ─▶ refresh/plot.py; `template.yaml`, `nowhere/`"
    assert list(missing_files(text)) == ["mirrors/jury.py", "nowhere/", "refresh/plot.py"]
