"""docs/tutorial-agent.md, followed as a reader would: its files written, its commands run, its output compared."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.instance import PATIENCE, ROOT
from tests.system.conftest import Bench

TUTORIAL: Final = ROOT / "docs" / "tutorial-agent.md"
_FENCED: Final = re.compile(
    r"^```(?P<kind>\w+)(?: (?P<rest>[^\n]+))?\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)


@dataclass(frozen=True)
class Block:
    """kind: `sh`, `text`, or a file's; rest: the file's path, or `exit=N`, or `start`."""

    kind: str
    rest: str
    text: str
    line: int


def blocks(page: str) -> Iterator[Block]:
    for found in _FENCED.finditer(page):
        line = page.count("\n", 0, found.start()) + 1
        yield Block(found["kind"], found["rest"] or "", found["text"], line)


def fits(shown: str, said: str) -> bool:
    """Whether output is what the page shows: `…` stands for anything in its line, and alone for any lines."""
    lines = (
        r"(?:.*\n)*" if line.strip() == "…" else re.escape(line).replace("…", ".*") + r"\n"
        for line in shown.rstrip().split("\n")
    )
    return re.fullmatch("".join(lines), said.rstrip() + "\n") is not None


def test_what_fits() -> None:
    assert fits("a\n…\nc", "a\nb\nb\nc\n")
    assert fits("…\na\n…", "a")
    assert fits("a…", "abc")
    assert not fits("a…", "a\nb")
    assert not fits("a\nc", "a\nb\nc")
    assert not fits("b", "abc")


def test_the_tutorial_works_as_it_stands(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / ".responsa").symlink_to(bench.instance.home)
    programs = Path(sys.executable).parent
    environment = {
        **bench.instance.environment,
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "COLUMNS": "200",
    }
    said, ran = "", 0
    for block in blocks(TUTORIAL.read_text(encoding="utf-8")):
        where = f"{TUTORIAL.name}:{block.line}"
        match block.kind:
            case "sh" if block.rest == "start":
                # What the bench was started as.
                assert block.text == "RESPONSA_MODELS__SCRIPTED=true responsa up\n"
                assert bench.instance.settings["RESPONSA_MODELS__SCRIPTED"] == "true"
            case "sh":
                done = subprocess.run(
                    ["/bin/sh", "-euc", block.text],
                    cwd=tmp_path,
                    env=environment,
                    capture_output=True,
                    text=True,
                    timeout=2 * PATIENCE,
                    check=False,
                )
                said = done.stdout + done.stderr
                assert done.returncode == int(block.rest.removeprefix("exit=") or 0), f"{where}: {said}"
                ran += 1
            case "text":
                assert fits(block.text, said), f"{where}: it said {said!r}"
            case _:
                assert block.rest, f"{where}: a file without a path"
                path = tmp_path / block.rest
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(block.text, encoding="utf-8")
    assert ran > 10
