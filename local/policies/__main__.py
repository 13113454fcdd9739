"""`python -m local.policies` writes docs/policies.md and the table of docs/security.md; --check only compares."""

import sys
from pathlib import Path
from typing import Final

from local.deploy.template import load_template
from local.policies.page import page
from local.policies.reach import with_table

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = ROOT / "docs" / "policies.md"
SECURITY: Final = ROOT / "docs" / "security.md"


def main(arguments: list[str]) -> int:
    """Write the pages, or check them."""
    path = ROOT / "template.yaml"
    template = load_template(path)
    pages = {
        PAGE: page(template, path.read_text(encoding="utf-8")),
        SECURITY: with_table(SECURITY.read_text(encoding="utf-8"), template),
    }
    stale = [page for page, text in pages.items() if not page.exists() or page.read_text(encoding="utf-8") != text]
    for each in stale:
        if arguments == ["--check"]:
            print(f"{each.relative_to(ROOT)} is not what template.yaml says; run `make policies`", file=sys.stderr)
        else:
            each.write_text(pages[each], encoding="utf-8")
    return int(bool(stale) and arguments == ["--check"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
