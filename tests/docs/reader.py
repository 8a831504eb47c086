"""A reader who follows a page of the docs to the letter: writes the page's files, runs its commands and samples, and
compares the output with the page.

The info string of a fenced block says what the block is:

| info string | what the reader does with the block |
|---|---|
| `sh` | runs the block; `exit=N` expects that exit code, `terminal=N` types the block into another terminal,
`elsewhere` leaves it to a test that the page names and that reads the page, and `unread` to the human reader |
| `sh start` | starts the instances that the block's `responsa up` lines name, with the settings before `responsa up` |
| `console` | runs each line that begins with `$ `, and compares the lines below the command with its output; `until`
repeats the command until the two agree |
| `text` | compares the block with the output of the block before |
| `python` | runs the block; all Python blocks of a page share one namespace. `elsewhere` and `unread` are as for `sh` |
| `html`, `js`, `json`, `toml`, `yaml`, `md` and a path | writes the block to that file |
| `json`, `jsonl`, `toml` | checks that the block parses; JSON is parsed as a whole or line by line |
| `mermaid`, `tree` | does nothing, because the block is a drawing |
| `sql` | does nothing, because the statements are for a database of the reader |
| `nginx`, `haproxy`, `ini` and a path | does nothing, because the test that the page names runs the file |

In expected output, `…` matches any text in its line; a line with only `…` matches any number of lines. Loopback ports
are replaced with free ports, and files below `/srv` with files of the reader.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psutil

from tests.instance import PATIENCE, Instance, eventually, free_port, instance_in

ELSEWHERE: Final = ("nginx", "haproxy", "ini")
"""The kinds of files that a test runs which the page names."""
_FENCED: Final = re.compile(
    r"^```(?P<kind>[\w-]*)(?: (?P<rest>[^\n]+))?\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
_LEFT: Final = ("elsewhere", "unread")
_UP: Final = re.compile(r"(?:\.venv/bin/)?responsa up|make up")
_SET: Final = re.compile(r"[A-Z_]+=")
_PORT: Final = re.compile(r"127\.0\.0\.1:\d+")
# On a loaded machine, a command may take so long that it prints its progress.
_PROGRESS: Final = re.compile(r"^responsa: [^:\n]+: [\d,]+ of [\d,]+\n", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """One fenced block. words: its info string; path: the file to write; line: its first line on the page."""

    kind: str
    words: Mapping[str, str]
    path: str
    text: str
    line: int


def blocks(page: str) -> Iterator[Block]:
    """The fenced blocks of a page, in order."""
    for fence in _FENCED.finditer(page):
        words: dict[str, str] = {}
        path = ""
        for word in shlex.split(fence["rest"] or ""):
            name, equals, value = word.partition("=")
            if equals or word in _LEFT or fence["kind"] in ("sh", "console"):
                words[name] = value
            else:
                path = word
        line = page.count("\n", 0, fence.start()) + 1
        yield Block(fence["kind"], words, path, fence["text"], line)


def block_with(page: Path, text: str) -> str:
    """The one block of a page that is left to a test and has this text."""
    (block,) = (
        block.text
        for block in blocks(page.read_text(encoding="utf-8"))
        if "elsewhere" in block.words and text in block.text
    )
    return block


def settings_in(commands: str) -> Mapping[str, str]:
    """The environment variables that shell commands set."""
    words = shlex.split(commands.replace("\\\n", " "))  # shlex does not join lines
    return dict(word.split("=", 1) for word in words if _SET.match(word))


def fits(expected: str, printed: str) -> bool:
    """Whether printed text matches the page."""
    lines = (
        r"(?:.*\n)*" if line.strip() == "…" else re.escape(line).replace("…", ".*") + r"\n"
        for line in expected.rstrip().split("\n")
    )
    return re.fullmatch("".join(lines), printed.rstrip() + "\n") is not None


class Terminal:
    """A shell that stays open from block to block, as a reader's shell does. Background jobs end with it."""

    def __init__(self, folder: Path, number: str, environment: Mapping[str, str]) -> None:
        self._files = folder / f"terminal-{number}"
        self._files.mkdir()
        self._count = 0
        self._shell = subprocess.Popen(
            ["/bin/bash", "--noprofile", "--norc"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=folder,
            env=dict(environment),
            start_new_session=True,
        )
        # The shell ends when its stdin closes, which also happens if this process is killed.
        assert self._shell.stdin is not None
        self._shell.stdin.write(b"trap 'kill 0' EXIT\n")

    def run(self, text: str, patience: float = 2 * PATIENCE) -> tuple[int, str]:
        """Run a text in the shell. Returns the exit code of the last command that failed (0 if every command succeeded), and the output."""
        self._count += 1
        typed, printed, ended = (self._files / f"{self._count}.{name}" for name in ("sh", "out", "code"))
        typed.write_text(text, encoding="utf-8")
        run = f"__failed=0; trap '__failed=$?' ERR; source {typed} >{printed} 2>&1 </dev/null; trap - ERR"
        assert self._shell.stdin is not None
        self._shell.stdin.write(f"{run}\necho $__failed >{ended}.tmp; mv {ended}.tmp {ended}\n".encode())
        self._shell.stdin.flush()
        eventually(ended.exists, lambda: f"the end of {text!r}: {printed.read_text()}", patience)
        return int(ended.read_text()), printed.read_text(encoding="utf-8")

    def close(self) -> None:
        """End the shell and everything that it started."""
        shell = psutil.Process(self._shell.pid)
        jobs = shell.children(recursive=True)
        for job in (*jobs, shell):
            with contextlib.suppress(psutil.NoSuchProcess):
                job.terminate()
        _, alive = psutil.wait_procs((*jobs, shell), PATIENCE)
        assert self._shell.stdin is not None
        self._shell.stdin.close()
        self._shell.wait(PATIENCE)
        assert not alive, alive


@dataclass
class Reader:
    """Follows pages in a folder that looks like the checkout.

    instance: the instance that `make up` has started; the docs use it by default. places: texts of the page,
    such as ports and folders, with their replacements here.
    """

    folder: Path
    instance: Instance
    environment: Mapping[str, str]
    places: dict[str, str] = field(default_factory=dict[str, str])
    ran: int = 0
    _terminals: dict[str, Terminal] = field(default_factory=dict[str, Terminal])
    _names: dict[str, Any] = field(default_factory=dict[str, Any])
    _stack: ExitStack = field(default_factory=ExitStack)

    def __post_init__(self) -> None:
        self.places["127.0.0.1:8080"] = f"127.0.0.1:{self.instance.port}"

    def close(self) -> None:
        """End everything that was started."""
        for terminal in self._terminals.values():
            terminal.close()
        self._stack.close()

    def follow(self, page: Path) -> None:
        """Follow the page. Raises AssertionError at the first block that fails."""
        printed = ""
        for block in blocks(page.read_text(encoding="utf-8")):
            where = f"{page.name}:{block.line}"
            if any(word in block.words for word in _LEFT):
                continue
            text = self._here(block.text)
            match block.kind:
                case "sh" if "start" in block.words:
                    self._start(block.text, where)
                case "sh":
                    printed = self._sh(text, block.words, where)
                case "console":
                    self._console(text, block.words, where)
                case "text":
                    assert fits(text, printed), f"{where}: it printed {printed!r}"
                case "python":
                    printed = self._python(text, where)
                case "html" | "js" | "json" | "toml" | "yaml" | "md" | "markdown" | "jsonl" if block.path:
                    path = self.folder / block.path
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_text(text, encoding="utf-8")
                case "json" | "jsonl":
                    _parses(text, where)
                case "toml":
                    tomllib.loads(text)
                case kind if kind in ELSEWHERE and block.path:
                    pass
                case "mermaid" | "tree" | "sql":
                    pass
                case _:
                    raise AssertionError(f"{where}: say what the block is, as tests/docs/reader.py lists it")

    def _here(self, text: str) -> str:
        for address in _PORT.findall(text):
            self.places.setdefault(address, f"127.0.0.1:{free_port()}")
        # The longest text is replaced first, because one text may begin with another.
        for shown in sorted(self.places, key=len, reverse=True):
            text = text.replace(shown, self.places[shown])
        return text.replace("/srv/", f"{self.folder}/")

    def _terminal(self, number: str) -> Terminal:
        if number not in self._terminals:
            self._terminals[number] = Terminal(self.folder, number, self.environment)
        return self._terminals[number]

    def _sh(self, text: str, words: Mapping[str, str], where: str) -> str:
        code, printed = self._terminal(words.get("terminal", "1")).run(text)
        assert code == int(words.get("exit", "0")), f"{where}: exit code {code}: {printed}"
        self.ran += 1
        return _PROGRESS.sub("", printed)

    def _console(self, text: str, words: Mapping[str, str], where: str) -> None:
        for command, expected in _typed(text):
            if "until" in words:
                printed = self._until(command, expected, words, where)
            else:
                printed = self._sh(command, words, where)
            assert fits(expected, printed), f"{where}: {command.strip()} printed {printed!r}"

    def _until(self, command: str, expected: str, words: Mapping[str, str], where: str) -> str:
        printed = ""

        def agrees() -> bool:
            nonlocal printed
            printed = self._sh(command, words, where)
            return fits(expected, printed)

        eventually(agrees, lambda: f"{where}: {command.strip()} printed {printed!r}")
        return printed

    def _python(self, text: str, where: str) -> str:
        out = io.StringIO()
        with contextlib.chdir(self.folder), contextlib.redirect_stdout(out):
            exec(compile(text, where, "exec"), self._names)
        self.ran += 1
        return out.getvalue()

    def _start(self, text: str, where: str) -> None:
        """Start each instance for which the text sets a RESPONSA_HOME. Without RESPONSA_HOME, the commands use the
        reader's instance, which is already running."""
        exported: dict[str, str] = {}
        started = 0
        for line in text.splitlines():
            words = shlex.split(line)
            given = dict(word.split("=", 1) for word in words if "=" in word)
            if words[:1] == ["export"]:
                exported |= given
                continue
            assert _UP.search(line), f"{where}: not a start: {line}"
            values = {**exported, **given}
            home = values.pop("RESPONSA_HOME", None)
            port = values.pop("RESPONSA_PORT", None)
            if home is None:
                lacking = {name for name in values if self.instance.settings.get(name) != values[name]}
                assert not lacking, f"{where}: the instance was started without {lacking}"
            else:
                self._place(home, port, values)
            started += 1
        assert started, f"{where}: nothing is started"

    def _place(self, home: str, port: str | None, settings: Mapping[str, str]) -> None:
        folder = self.folder / home.strip("/").replace("/", "-")
        folder.mkdir()
        # These instances do not load Responsa's docs: loading takes longer than the rest of the start, and the tests ask
        # nothing about the docs.
        one = self._stack.enter_context(instance_in(folder, RESPONSA_DOCS="none", **settings))
        self.places[home] = str(one.home)
        if port is not None:
            self.places[f"RESPONSA_PORT={port}"] = f"RESPONSA_PORT={one.port}"
        own = {name: value for name, value in one.environment.items() if name.startswith("RESPONSA_")}
        self.environment = {**self.environment, **own}


def _typed(text: str) -> Iterator[tuple[str, str]]:
    """The commands of a console block, each with its expected output. A command continues in lines that begin with `> `."""
    command, expected = "", ""
    for line in text.splitlines(keepends=True):
        if line.startswith("$ "):
            if command:
                yield command, expected
            command, expected = line.removeprefix("$ "), ""
        elif line.startswith("> ") and not expected:
            command += line.removeprefix("> ")
        else:
            expected += line
    if command:
        yield command, expected


def _parses(text: str, where: str) -> None:
    try:
        json.loads(text)
    except ValueError:
        for line in filter(str.strip, text.splitlines()):
            try:
                json.loads(line)
            except ValueError as error:
                raise AssertionError(f"{where}: not JSON: {line}") from error
