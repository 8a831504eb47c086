"""Counts the server's modules and packages that a question and an upload use, and the calls back upwards:
`python tools/trace_modules.py [--steps]`.

The script starts an instance of the installed `responsa_server` in a separate folder, with a profiler in every server
process, including the sandbox's zygote and its children. To measure another checkout, run the script with the interpreter of that checkout.
Then the script traces two actions, each in three separate windows: (a) one Ask over gRPC until the terminal event, and
(b) one upload over gRPC until search finds its passages. It performs both actions once before, so that one-time loading
and compiling do not count.

Each action is repeated with other texts. A module counts if one of its functions is called in each of these windows,
but not in an idle window of the same length. Therefore loops that run always, or now and then, do not count. Module
bodies do not count either. `--steps` prints the functions in the order of their first call, with the process that
called them.

A package is a folder of the server, or another package beside it. A call back upwards is a call from a package below
(the layers in pyproject.toml) into one that is on the call's stack already; `app`, which starts all, and what is read
lazily do not count.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

import responsa_server
from responsa_client import Responsa

_SERVER: Final = Path(responsa_server.__file__ or "").resolve().parents[1]
_LAYERS: Final[dict[str, int]] = {
    package.strip().removeprefix("responsa_server."): depth
    for contract in tomllib.loads((_SERVER.parent / "pyproject.toml").read_text())["tool"]["importlinter"][
        "contracts"
    ]
    if contract["name"].startswith("Layers")
    for depth, layer in enumerate(contract["layers"])
    for package in layer.split("|")
}
"""How far below the top a package stands."""
_FOLDER: Final = "RESPONSA_TRACE_FOLDER"
_SECONDS: Final = 5.0
_IDLE: Final = 4
"""The number of idle windows, in which loops that run now and then are seen."""
_START_SECONDS: Final = 180.0

# The source of a second module, the profiler. Every interpreter that has the profiler's folder on its path loads it.
# The profiler writes records to
# memory-mapped files, because such a write needs no system call. (In the sandbox, a parsing process may not use system calls for files.)
_PROFILER: Final = """
import mmap, os, struct, subprocess, sys, threading, time

FOLDER = os.environ["RESPONSA_TRACE_FOLDER"]
ROOT = os.environ["RESPONSA_TRACE_PACKAGE"] + os.sep
SIZE = 1 << 22
with open(os.path.join(FOLDER, "window"), "r+b") as file:
    WINDOW = mmap.mmap(file.fileno(), 1)


def region(name):
    with open(os.path.join(FOLDER, name), "w+b") as file:
        file.truncate(SIZE)
        return mmap.mmap(file.fileno(), SIZE)


class Recorder:
    def __init__(self):
        self.kind = "sandbox" if "sandbox.zygote" in " ".join(sys.orig_argv) else "server"
        self.region = region(f"{os.getpid()}.trace")
        # Children are forked from this process, and cannot open files any more.
        self.child = region(f"{os.getpid()}-child.trace") if self.kind == "sandbox" else None
        self.place = 0
        self.seen = set()

    def become_child(self):
        if self.child is not None:
            self.region, self.child, self.kind = self.child, None, "parser"
            self.place = self.region.find(b"\\0")
            self.seen = set()

    def __call__(self, frame, event, _):
        if event != "call":
            return
        window = WINDOW[0]
        if not window:
            return
        code = frame.f_code
        key = (window, code)
        if key in self.seen:
            return
        self.seen.add(key)
        name = code.co_filename
        if name.startswith(ROOT) and code.co_name != "<module>":
            lines = len({number for _, _, number in code.co_lines() if number})
            by, caller = [], frame.f_back
            while caller is not None:
                if caller.f_code.co_filename.startswith(ROOT):
                    by.append(caller.f_code.co_filename[len(ROOT):])
                caller = caller.f_back
            by = ",".join(dict.fromkeys(by))
            line = f"{window}\\t{time.monotonic_ns()}\\t{self.kind}\\t{name[len(ROOT):]}\\t{code.co_qualname}\\t{lines}\\t{by}\\n".encode()
            self.region[self.place:self.place + len(line)] = line
            self.place += len(line)


def clean_environment_of_the_zygote():
    started = subprocess.Popen.__init__

    def start(self, args, *more, **options):
        if options.get("env") is not None and any("sandbox.zygote" in str(one) for one in args):
            own = {name: os.environ[name] for name in ("RESPONSA_TRACE_FOLDER", "RESPONSA_TRACE_PACKAGE")}
            paths = os.pathsep.join((os.path.join(FOLDER, "site"), options["env"].get("PYTHONPATH", "")))
            options["env"] = {**options["env"], **own, "PYTHONPATH": paths}
        started(self, args, *more, **options)

    subprocess.Popen.__init__ = start


if {"serve", "worker"} & set(sys.orig_argv) or "sandbox.zygote" in " ".join(sys.orig_argv):
    clean_environment_of_the_zygote()
    recorder = Recorder()
    os.register_at_fork(after_in_child=recorder.become_child)
    threading.setprofile(recorder)
    sys.setprofile(recorder)
"""

Step = tuple[int, str, str, str, int, str]
"""The first call of a function: the time in nanoseconds, the kind of process, the path of the module, the qualified
name, the number of the function's lines with code, and the paths of the modules on the stack, the caller's first, with
commas between them."""


class Trace:
    """A running instance under the profiler."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.port = port
        self._windows = 0

    def window(self, work: Callable[[], object]) -> int:
        """Runs `work` in a separate window of at least `_SECONDS` seconds. Returns the number of the window."""
        self._windows += 1
        with (self.folder / "window").open("r+b") as file:
            file.write(bytes([self._windows]))
            file.flush()
            ends = time.monotonic() + _SECONDS
            work()
            time.sleep(max(ends - time.monotonic(), 0.0))
            file.seek(0)
            file.write(b"\0")
        return self._windows

    def steps(self, window: int) -> list[Step]:
        """The functions of a window in the order of their first call."""
        steps: list[Step] = []
        for file in self.folder.glob("*.trace"):
            for line in file.read_bytes().rstrip(b"\0").decode().splitlines():
                number, at, kind, module, name, lines, caller = line.split("\t")
                if int(number) == window:
                    module, caller = (text.replace("responsa_server/", "") for text in (module, caller))
                    steps.append((int(at), kind, module, name, int(lines), caller))
        return sorted(steps)


@contextmanager
def instance(folder: Path) -> Generator[Trace]:
    """An instance without documents, whose server processes run under the profiler."""
    site = folder / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(_PROFILER, encoding="utf-8")
    (folder / "window").write_bytes(b"\0")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("RESPONSA_")},
        "RESPONSA_HOME": str(folder / "home"),
        "RESPONSA_PORT": str(port),
        "RESPONSA_DOCS": "none",
        _FOLDER: str(folder),
        "RESPONSA_TRACE_PACKAGE": str(_SERVER),
        "PYTHONPATH": os.pathsep.join((str(site), os.environ.get("PYTHONPATH", ""))).rstrip(os.pathsep),
    }
    command = [sys.executable, "-m", "responsa_server"]
    log = folder / "up.log"
    with log.open("wb") as out:
        running = subprocess.Popen([*command, "up"], env=environment, stdout=out, stderr=out, cwd=folder)
    try:
        ends = time.monotonic() + _START_SECONDS
        while b"Responsa is ready" not in log.read_bytes():
            if running.poll() is not None or time.monotonic() > ends:
                raise SystemExit(f"the instance did not start:\n{log.read_text(encoding='utf-8')}")
            time.sleep(0.1)
        yield Trace(folder, port)
    finally:
        running.terminate()
        running.wait(60)
        subprocess.run([*command, "purge", "--yes"], env=environment, check=False, capture_output=True)


def document(subject: str) -> bytes:
    """A short text about a subject that no other text mentions."""
    return (
        f"The {subject} lighthouse stands 41 metres above the sea. Its lamp was lit in 1874 by keeper Ann Foster.\n"
        f"Ships that pass the {subject} rocks at night steer by its white flash every nine seconds.\n"
    ).encode()


def measure(trace: Trace) -> dict[str, list[Step]]:
    """The steps of the question and of the upload, without the steps of idle loops."""
    key = (trace.folder / "home" / "api-key").read_text(encoding="utf-8").strip()
    with Responsa(f"http://127.0.0.1:{trace.port}", key) as client:

        def ask(subject: str) -> None:
            ends = [
                event.WhichOneof("event")
                for event in client.ask(f"When was the lamp of the {subject} lighthouse lit?")
            ]
            if ends[-1] != "answer":
                raise SystemExit(f"the question was not answered: {ends}")

        def upload(subject: str) -> None:
            client.upload(document(subject), source_key=f"{subject}.txt")

        for subject in ("Marness", "Gullholm", "Skerrow", "Lundy"):
            client.wait(client.upload(document(subject), source_key=f"{subject}.txt"))
        ask("Marness")
        idle = {step[1:5] for _ in range(_IDLE) for step in trace.steps(trace.window(lambda: None))}

        def common(work: Callable[[str], None], subjects: Sequence[str]) -> list[Step]:
            first, *others = [trace.steps(trace.window(partial(work, subject))) for subject in subjects]
            always = set[tuple[str, str, str, int]].intersection(
                *({step[1:5] for step in steps} for steps in (first, *others))
            )
            return [step for step in first if step[1:5] in always - idle]

        ways = {
            "ask": common(ask, ("Gullholm", "Skerrow", "Lundy")),
            "upload": common(upload, ("Tern", "Fulmar", "Shag")),
        }
        found = client.search("Tern lighthouse lamp")
        if not any("Tern" in one.passage.text for one in found):
            raise SystemExit("the upload is not searched yet; the window is too short")
    return ways


def package_of(module: str) -> str:
    """The package of a module, which is a path; "agents/engine" and "agents/nodes" are two, because they are two layers."""
    folders = module.split("/")[:-1]
    return next(
        (name for name in (".".join(folders[:2]), *folders[:1]) if name in _LAYERS), "".join(folders[:1])
    )


def calls_upwards(steps: Sequence[Step]) -> list[tuple[str, Step]]:
    """The calls back upwards, each with the module that calls."""
    upwards: list[tuple[str, Step]] = []
    for step in steps:
        own, (caller, *before) = package_of(step[2]), step[5].split(",")
        on_stack = own != "app" and not step[3].endswith("<genexpr>") and own in map(package_of, before)
        if on_stack and caller and _LAYERS.get(own, 99) < _LAYERS.get(package_of(caller), 0):
            upwards.append((caller, step))
    return upwards


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--steps", action="store_true", help="print the functions in the order of their first call"
    )
    parser.add_argument("--json", action="store_true", help="print all of it as JSON")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="responsa-trace-") as place,
        instance(Path(place).resolve()) as trace,
    ):
        ways = measure(trace)
    if options.json:
        print(json.dumps({way: [[*step] for step in steps] for way, steps in ways.items()}))
        return
    for way, steps in ways.items():
        modules = Counter(step[2] for step in steps)  # in the order of their first call
        lines = Counter[str]()
        for _, _, module, _, number, _ in steps:
            lines[module.rpartition("/")[0].partition("/postgres")[0]] += number
        packages = {module.partition("/")[0] for module in modules}
        upwards = calls_upwards(steps)
        print(f"{way}: {len(modules)} modules, {len(packages)} packages, {len(upwards)} calls back upwards")
        print(f"  {len(steps)} functions with {lines.total():,} lines of code")
        print(f"  lines: {', '.join(f'{folder} {number:,}' for folder, number in sorted(lines.items()))}")
        if options.steps:
            begun = steps[0][0]
            for at, kind, module, name, _, _ in steps:
                print(f"  {(at - begun) / 1e6:9.2f} ms  {kind:8} {module:55} {name}")
        else:
            for module, functions in modules.items():
                print(f"  {functions:4} functions  {module}")
            for caller, (_, _, module, name, _, _) in upwards:
                print(f"  upwards: {caller} calls {name} of {module}")


if __name__ == "__main__":
    main()
