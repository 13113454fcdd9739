"""`python -m local.policies` writes docs/policies.md; with --check it only says whether that would change it."""

import sys
from pathlib import Path
from typing import Final

from local.deploy.template import load_template
from local.policies.page import page

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = ROOT / "docs" / "policies.md"


def main(arguments: list[str]) -> int:
    """Write the page, or check it."""
    template = ROOT / "template.yaml"
    text = page(load_template(template), template.read_text(encoding="utf-8"))
    if arguments != ["--check"]:
        PAGE.write_text(text, encoding="utf-8")
    elif not PAGE.exists() or PAGE.read_text(encoding="utf-8") != text:
        print("docs/policies.md is not what template.yaml says; run `make policies`", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
