"""`python -m bench.sizes`: how large Responsa is, as the rows of the table in docs/sizing.md.

It starts an instance of its own, which loads the pages of the documentation, and sums the memory of each part's processes
when it has rested. The first screen is what the page's document names, compressed. With `--wheels build/dist`, it installs
`responsa[local]` from these wheels in a new environment, which needs the package index.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import psutil

from bench.processes import ROOT, leave_in_order, place, running
from tools.install import DEFAULTS, UV, pip_settings, uv_variables

_PAGE: Final = ROOT / "clients" / "web" / "dist"
_NAMED: Final = re.compile(r'<(?:script|link rel="(?:modulepreload|stylesheet)")[^>]+(?:src|href)="/([^"]+)"')
_PARTS: Final = {"postgres": "PostgreSQL", "valkey-server": "Redis", "envoy": "Envoy"}
_PSS: Final = re.compile(r"^Pss:\s+(\d+) kB", re.MULTILINE)


def measure_memory(rest: float) -> Mapping[str, tuple[int, int]]:
    """The processes of each part, and the sum of their proportional sets in bytes, after so many seconds of rest."""
    with place(limited=True) as at, running(at) as started:
        time.sleep(rest)
        sums, counts = Counter[str](), Counter[str]()
        for process in processes_of(started.pid):
            part = part_of(process)
            sums[part] += pss_of(process)
            counts[part] += 1
    return {part: (counts[part], sums[part]) for part, _ in sums.most_common()}


def processes_of(pid: int) -> Iterator[psutil.Process]:
    """A process and its descendants."""
    root = psutil.Process(pid)
    yield root
    yield from root.children(recursive=True)


def part_of(process: psutil.Process) -> str:
    """What a process of an instance belongs to."""
    if (name := process.name()) in _PARTS:
        return _PARTS[name]
    line = " ".join(process.cmdline())
    if "sandbox" in line:
        return "the parser of documents"
    return "a server" if " serve" in line else "the supervisor"


def pss_of(process: psutil.Process) -> int:
    """Its memory in bytes, of which shared pages count in shares."""
    match = _PSS.search(Path("/proc", str(process.pid), "smaps_rollup").read_text(encoding="ascii"))
    return 0 if match is None else int(match[1]) * 1024


def measure_first_screen(page: Path = _PAGE) -> int:
    """The bytes that a browser gets before it shows the page: the document, its script and its styles, compressed."""
    document = page / "index.html"
    named = _NAMED.findall(document.read_text(encoding="utf-8"))
    return document.stat().st_size + sum((page / f"{name}.gz").stat().st_size for name in named)


def measure_installed(wheels: Path) -> tuple[int, int]:
    """The distributions of a new environment with `responsa[local]`, and their bytes."""
    variables = uv_variables(pip_settings() or "")
    if variables is None:
        raise SystemExit("uv cannot do what the settings of pip say")
    (server,) = wheels.glob("responsa-*.whl")
    with tempfile.TemporaryDirectory(dir=wheels.parent) as folder:
        environment = {**DEFAULTS, **variables, "PATH": "/usr/bin:/bin", "HOME": folder}
        made = Path(folder, "env")
        install = ("install", "--python", made, "--link-mode=copy", *wheels.glob("responsa_*.whl"))
        for command in (
            ("venv", "--python", sys.executable, made),
            ("pip", *install, f"{server}[local]"),
        ):
            subprocess.run([UV, *command, "--quiet"], env=environment, check=True)
        (packages,) = (made / "lib").glob("python*/site-packages")
        files = [file for file in packages.rglob("*") if file.is_file() and not file.is_symlink()]
        return len([*packages.glob("*.dist-info")]), sum(file.stat().st_size for file in files)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print the rows."""
    parser = argparse.ArgumentParser(prog="python -m bench.sizes", description=__doc__)
    parser.add_argument(
        "--wheels", type=Path, metavar="FOLDER", help="also install the wheels of this folder"
    )
    parser.add_argument(
        "--rest", type=float, default=180.0, metavar="SECONDS", help="before memory is measured"
    )
    options = parser.parse_args(arguments)
    leave_in_order()
    if options.wheels is not None:
        packages, size = measure_installed(options.wheels.resolve())
        print(f"| `responsa[local]`, installed | {size / 1e6:.0f} MB in {packages} packages |", flush=True)
    print(f"| the first screen of the page, compressed | {measure_first_screen() / 1e3:.0f} kB |", flush=True)
    parts = measure_memory(options.rest)
    for part, (count, size) in parts.items():
        print(f"| memory of {part} | {size / 1e6:.0f} MB in {count} process{'es' * (count > 1)} |")
    print(f"| memory of an instance at rest | {sum(size for _, size in parts.values()) / 1e6:.0f} MB |")


if __name__ == "__main__":
    main()
