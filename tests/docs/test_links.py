"""Links in Markdown files lead somewhere: to a file of the checkout, and to a heading in it. Merges left no paragraph twice."""

from __future__ import annotations

import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

from tests.instance import ROOT

_LINK = re.compile(r"!?\[(?:[^\]\[]|\[[^\]]*\])*\]\(<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\)")
_CODE = re.compile(r"```.*?^```|`[^`\n]+`", re.MULTILINE | re.DOTALL)


def pages() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    # Markdown files of shipped agents are samples and prompts, not docs. Packages and their folders have a README.
    names = [
        name
        for name in listed.split("\0")
        if (name and not name.startswith(("server/", "tests/", "evals/", "samples/")))
        or re.fullmatch(r"server/responsa_\w+/(\w+/)?README\.md", name)
    ]
    return [ROOT / name for name in names]


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, made with the rules of the common Markdown hosts."""
    targets: set[str] = set()
    counts: dict[str, int] = {}
    for line in re.sub(r"```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S).splitlines():
        if heading := re.match(r"#{1,6}\s+(.*)", line):
            text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading[1]).replace("`", "")
            slug = re.sub(r"[^\w\- ]", "", text.strip().lower()).replace(" ", "-")
            number = counts.get(slug, 0)
            counts[slug] = number + 1
            targets.add(slug if number == 0 else f"{slug}-{number}")
    return targets


def dead(page: Path) -> Iterator[str]:
    """The links of a page that lead nowhere."""
    text = _CODE.sub("", page.read_text(encoding="utf-8"))
    for link in _LINK.findall(text):
        if re.match(r"[a-z][a-z0-9+.-]*:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists():
            yield f"{page.relative_to(ROOT)}: {link}"
        elif anchor and target.suffix == ".md" and anchor not in anchors(target):
            yield f"{page.relative_to(ROOT)}: {link}: no such heading"


def repeated(page: Path) -> Iterator[str]:
    """The lines, except those of tables, that begin like an earlier line of the page."""
    seen: set[str] = set()
    for line in _CODE.sub("", page.read_text(encoding="utf-8")).splitlines():
        begin = line[:60]
        if len(begin) == 60 and begin in seen and not line.startswith("|"):
            yield f"{page.relative_to(ROOT)}: {begin}"
        seen.add(begin)


def test_no_line_of_prose_is_there_twice() -> None:
    """Merges of two versions of a page leave such lines."""
    assert [one for page in pages() for one in repeated(page)] == []


def test_the_site_leads_to_each_page_once() -> None:
    sections = tomllib.loads((ROOT / "zensical.toml").read_text(encoding="utf-8"))["project"]["nav"]
    docs = ROOT / "docs"
    named = [page for section in sections for listed in section.values() for page in listed]
    assert len(sections) == 6
    assert sorted(named) == sorted(
        [
            "index.md",
            "adr/README.md",
            *(page.name for page in docs.glob("*.md")),
            *(f"maintainers/{page.name}" for page in (docs / "maintainers").glob("*.md")),
        ]
    )


def test_no_link_is_dead() -> None:
    found = pages()
    assert len(found) > 20
    assert [link for page in found for link in dead(page)] == []


def test_a_dead_link_is_caught(tmp_path: Path) -> None:
    page = ROOT / "docs" / "api.md"
    assert "no-such-heading" not in anchors(page)
    broken = tmp_path / "page.md"
    broken.write_text(
        "[a](nowhere.md) [b](#gone) [c](https://example.org) `[d](code.md)`\n\n# Here\n\n[e](#here)\n"
    )
    text = _CODE.sub("", broken.read_text())
    assert _LINK.findall(text) == ["nowhere.md", "#gone", "https://example.org", "#here"]
    assert anchors(broken) == {"here"}
