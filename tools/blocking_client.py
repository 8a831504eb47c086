"""Writes the blocking Python client, responsa_client/blocking, from the asyncio client, responsa_client/aio. Only transport.py is left out.

Usage: python tools/blocking_client.py [--check]   (--check only compares, and fails if a file is out of date)

The script removes `async` and `await`, and replaces asynchronous names. Then ruff sorts the imports and formats the files.
All other differences are in transport.py, which is written separately for each client.
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tokenize
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CLIENT = ROOT / "clients" / "python" / "responsa_client"
HEAD = "# Generated from ../aio/{name} by `make generate`. Do not edit.\n"
NAMES = {
    "__aenter__": "__enter__",
    "__aexit__": "__exit__",
    "__anext__": "__next__",
    "aclose": "close",
    "aio": "blocking",
    "anext": "next",
}
# These names stay, because the stubs have the types of asyncio. The blocking transport casts the stubs.
KEPT = re.compile(r"^from grpc import aio$|\baio\.[A-Z]\w+")
GROUPS = re.compile(r"\bAwaitable\[(\w+)\]")
PREFIX = re.compile(r"\bAsync(?=[A-Z])")


def blocking(name: str, source: str) -> str:
    """The blocking form of a file's text, before it is formatted."""
    lines = source.splitlines(keepends=True)
    changes: list[tuple[tuple[int, int], tuple[int, int], str]] = []
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        new = token.string
        if token.type == tokenize.NAME:
            new = _name(token, lines)
        elif token.type in (tokenize.STRING, tokenize.COMMENT):
            new = PREFIX.sub("", new)
        if new != token.string:
            changes.append((token.start, token.end, new))
    for (row, start), (last, end), new in reversed(changes):
        if not new and lines[last - 1][end : end + 1] == " ":
            end += 1
        lines[row - 1 : last] = [lines[row - 1][:start] + new + lines[last - 1][end:]]
    text = GROUPS.sub(r"\1", "".join(lines))
    text = re.sub(r"(from collections\.abc import [^\n]*)\bAwaitable, ", r"\1", text)
    return HEAD.format(name=name) + _ruff(
        _ruff(text, name, "check", "--quiet", "--select=I,UP028", "--fix", "--unsafe-fixes"), name, "format"
    )


def _name(token: tokenize.TokenInfo, lines: list[str]) -> str:
    if token.string in ("async", "await"):
        return ""
    if token.string == "aio":
        column = token.start[1]
        kept = any(one.start() <= column < one.end() for one in KEPT.finditer(token.line.rstrip("\n")))
        return token.string if kept else NAMES["aio"]
    return NAMES.get(token.string, PREFIX.sub("", token.string))


def _ruff(text: str, name: str, *arguments: str) -> str:
    ruff = Path(sys.executable).with_name("ruff")
    path = CLIENT / "blocking" / name
    done = subprocess.run(
        [ruff, *arguments, "--stdin-filename", path, "-"],
        input=text, capture_output=True, text=True, check=True, cwd=ROOT,
    )  # fmt: skip
    return done.stdout


def main() -> None:
    """Writes the files; with `--check`, only compares them."""
    for source in sorted((CLIENT / "aio").glob("*.py")):
        if source.name == "transport.py":
            continue
        target = CLIENT / "blocking" / source.name
        made = blocking(source.name, source.read_text(encoding="utf-8"))
        if "--check" not in sys.argv[1:]:
            target.write_text(made, encoding="utf-8")
        elif not target.exists() or target.read_text(encoding="utf-8") != made:
            sys.exit(f"{target.relative_to(ROOT)} is out of date; run `make generate`")
    expected = {source.name for source in (CLIENT / "aio").glob("*.py")}
    if extra := sorted({path.name for path in (CLIENT / "blocking").glob("*.py")} - expected):
        sys.exit(f"{', '.join(extra)} in {CLIENT.relative_to(ROOT)}/blocking has no source")


if __name__ == "__main__":
    main()
