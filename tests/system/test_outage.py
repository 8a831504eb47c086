"""What the operator reads at the start of an instance with broken parts, and while PostgreSQL is away."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.instance import ROOT, Instance, instance_in

DEFAULT = ROOT / "server" / "responsa_server" / "agents" / "shipped" / "default"


@pytest.fixture
def folder() -> Iterator[Path]:
    found = Path(tempfile.mkdtemp(prefix="rso-"))
    yield found
    shutil.rmtree(found)


def test_what_is_broken_is_named_at_the_start_and_what_is_away_in_an_outage(folder: Path) -> None:
    agent = Path(shutil.copytree(DEFAULT, folder / "agents" / "mine")) / "agent.toml"
    agent.write_text(agent.read_text(encoding="utf-8").replace('"ranker"', '"grader"'), encoding="utf-8")
    with instance_in(
        folder,
        RESPONSA_DOCS="none",
        RESPONSA_AGENTS__FOLDER=str(folder / "agents"),
        RESPONSA_MODELS__SERVERS__LAB__URL="http://127.0.0.1:9/v1",
        RESPONSA_MODELS__DEFAULT='["lab:m"]',
    ) as one:
        said = one.said()
        status = one.run("call", "AdminService.GetSystemStatus").stdout
        for words in (
            r"The agent mine is left out: mine/agent\.toml:\d+: nodes\.rank\.kind: "
            r"there is no kind of node “grader” any more; “ranker” replaces it\.",
            r"The model lab:m does not answer: its server cannot be reached\. Check its address, and that it runs\.",
        ):
            assert re.search(rf"^Warning: {words}$", said, re.MULTILINE)
            assert re.search(words, status)
        outage(one)


def outage(one: Instance) -> None:
    found = one.processes()
    # A supervisor that runs would start PostgreSQL again.
    found["supervisor"].suspend()
    try:
        family = [found["postgres"], *found["postgres"].children(recursive=True)]
        for process in family:
            process.kill()
        refused = one.run("documents", "list", "--timeout", "2", check=False)
        assert refused.returncode == 1
        assert re.match(
            r"responsa: The database cannot be reached at the moment\. Waiting until ", refused.stderr
        )
        doctor = one.run("doctor", check=False)
        assert doctor.returncode == 1
        assert (
            "WRONG postgresql: is down in the running instance — `responsa up` starts it again"
            in doctor.stdout
        )
        # The status has been asked for a moment ago, so the server still knows who asks.
        status = one.run("call", "AdminService.GetSystemStatus")
        assert "The database cannot be reached at the moment" in status.stdout
        made = one.run("admin", "create-tenant", "branch", "--timeout", "5", check=False)
        assert made.returncode == 1
        # On a busy machine, the command says it before it has heard why.
        (waits, ended) = made.stderr.splitlines()
        assert re.match(
            r"responsa: The database (is away|has not answered yet).*\. Waiting until \d\d:\d\d:", waits
        )
        assert ended.endswith("`responsa doctor` names the part that is down.")
    finally:
        found["supervisor"].resume()
    one.run("usage")  # it waits until PostgreSQL is back
