"""Write the tables of docs/agents.md from the models of the configuration and the table of kinds.

Usage: python tools/agents_reference.py [--check]   (--check writes nothing and fails when the page is out of date)
"""

from __future__ import annotations

import sys
from pathlib import Path

from responsa_server.agents.config.reference import page

PAGE = Path(__file__).resolve().parent.parent / "docs" / "agents.md"


def main() -> None:
    """Write the page, or compare it."""
    before = PAGE.read_text(encoding="utf-8")
    after = page(before)
    if "--check" in sys.argv[1:]:
        if before != after:
            sys.exit("docs/agents.md is out of date; run `make generate`")
        return
    PAGE.write_text(after, encoding="utf-8")


if __name__ == "__main__":
    main()
