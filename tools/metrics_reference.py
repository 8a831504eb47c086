"""Writes the table of docs/monitoring.md from the table of metrics. With `--check`, it only compares."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from responsa_server.telemetry.instruments import TABLE

PAGE: Final = Path(__file__).resolve().parent.parent / "docs" / "monitoring.md"
BEGIN: Final = "<!-- written by `make generate` from here -->"
END: Final = "<!-- to here -->"


def page(text: str) -> str:
    """The page with a new table between its two markers. Raises ValueError if the page lacks the markers."""
    lines = ["| metric | kind | labels | meaning |", "|---|---|---|---|"]
    for instrument in TABLE:
        labels = ", ".join(f"`{label}`" for label in instrument.labels)
        lines.append(f"| `{instrument.exposed}` | {instrument.kind} | {labels} | {instrument.meaning} |")
    table = "\n".join(lines)
    before, _, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError("the page lacks the two markers between which the table belongs")
    return f"{before}{BEGIN}\n\n{table}\n\n{END}{after}"


def main() -> None:
    """Writes the page; with `--check`, only compares it."""
    before = PAGE.read_text(encoding="utf-8")
    after = page(before)
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(after, encoding="utf-8")
    elif before != after:
        sys.exit("docs/monitoring.md is out of date; run `make generate`")


if __name__ == "__main__":
    main()
