"""Makes the site of the docs: `python tools/site.py`. README is its first page. A link that leads out of `docs/` is only its text there,
because the site has no files of the checkout."""

from __future__ import annotations

import os
import posixpath
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
_LINK: Final = re.compile(r"(?<!!)\[((?:[^\[\]]|\[[^\[\]]*\])+)\]\(([^()\s]+)\)")
_OPENING: Final = re.compile(r"(`+\w*).*")
_ITEM: Final = re.compile(r"(?:[-*]|\d+\.)\s+")
_STEP: Final = 4
"""By how many spaces the site's Markdown wants what belongs to an item of a list to be indented."""
_UNSEARCHED: Final = "---\nsearch:\n  exclude: true\n---\n"


def page(text: str, path: str) -> str:
    """A page of the site. path: where it stands in the checkout; its links become those of the site."""

    def link(match: re.Match[str]) -> str:
        name, target = match.groups()
        file, mark, anchor = target.partition("#")
        if not file or "://" in file:
            return match[0]
        place = posixpath.normpath(posixpath.join(posixpath.dirname(path), file))
        if not place.startswith("docs/"):
            return name
        start = "docs" if path == "README.md" else posixpath.dirname(path)
        return f"[{name}]({posixpath.relpath(place, start)}{mark}{anchor})"

    lines: list[str] = []
    items: list[int] = []  # the columns of the texts of the open items
    fenced = False
    for line in text.splitlines():
        bare = line.lstrip()
        column = len(line) - len(bare)
        while bare and items and column < items[-1] and not fenced:
            items.pop()
        indent = " " * (_STEP * len(items) + max(0, column - (items[-1] if items else 0)))
        if not fenced and (item := _ITEM.match(bare)):
            items.append(column + item.end())
        if bare.startswith("```"):
            fenced = not fenced
            bare = _OPENING.sub(r"\1", bare)  # what follows the language is for the docs' tests
        lines.append(f"{indent}{bare if fenced else _LINK.sub(link, bare)}" if bare else "")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Copy the pages to `build/docs`, and build the site in `build/site`."""
    target = ROOT / "build" / "docs"
    shutil.rmtree(target, ignore_errors=True)
    for file in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*"))]:
        path = file.relative_to(ROOT).as_posix()
        made = target / ("index.md" if path == "README.md" else path.removeprefix("docs/"))
        if file.suffix == ".md":
            made.parent.mkdir(parents=True, exist_ok=True)
            text = page(file.read_text(encoding="utf-8"), path).replace("](docs/images/", "](images/")
            # Decisions are found from their own list: searches are for those who use Responsa.
            made.write_text((_UNSEARCHED if path.startswith("docs/adr/") else "") + text, encoding="utf-8")
        elif file.is_file():
            made.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, made)
    subprocess.run(["make", "--no-print-directory", ".venv/site/.installed"], cwd=ROOT, check=True)
    environment = {**os.environ, "PYTHONPATH": str(ROOT / ".venv" / "site")}
    command = [sys.executable, "-m", "zensical", "build", "--strict"]
    subprocess.run(command, cwd=ROOT, env=environment, check=True)


if __name__ == "__main__":
    main()
