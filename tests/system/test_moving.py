"""The guide of docs/deployment.md that moves a service to another machine, with its commands. A plain user runs the
whole system, even if root runs the tests."""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import httpx2
import pytest

from responsa_client import Responsa
from tests.docs.reader import blocks
from tests.instance import PATIENCE, ROOT, Instance, eventually, free_port
from tests.system.conftest import FERRY

PAGE: Final = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")
QUESTION: Final = "When does the ferry to Skye leave from Mallaig?"
ANSWER: Final = "six in the morning"
WORDS: Final = 60
CAPABILITY: Final = "+dac_read_search"
"""Perhaps only root can read the interpreter and the checkout. Therefore the user may read all files, but can write only below `/srv`."""


def steps() -> Sequence[Sequence[str]]:
    """The commands of each machine, and those that check the new instance."""
    guide = PAGE[PAGE.index("## Moving to another machine") :]
    return [block.text.splitlines() for block in blocks(guide) if "elsewhere" in block.words]


@pytest.fixture
def machines(folder: Path) -> Iterator[tuple[Instance, Instance]]:
    """The service on the old and on the new machine, each with its own /srv. If root runs the tests, the service runs
    as a plain user, as the page demands."""
    within: Sequence[str] = ()
    user = pwd.getpwnam("nobody")
    if os.geteuid() == 0:
        os.chown(folder, user.pw_uid, user.pw_gid)
        within = (
            "setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups", "--no-new-privs", "--pdeathsig=keep",
            f"--inh-caps=-all,{CAPABILITY}", f"--ambient-caps=-all,{CAPABILITY}", f"--bounding-set=-all,{CAPABILITY}",
        )  # fmt: skip
    made: list[Instance] = []
    # The name of the session's cookie contains the port.
    port = free_port()
    for name in ("old", "new"):
        srv = folder / name
        srv.mkdir()
        if within:
            os.chown(srv, user.pw_uid, user.pw_gid)
        settings = {
            "RESPONSA_DOCS": "none",
            "RESPONSA_TESTING__AGENT": "true",
            "RESPONSA_DRAIN_SECONDS": "0",
            "HOME": str(folder),
        }
        made.append(Instance(srv / "responsa", port, settings, within))
    old, new = made
    try:
        yield old, new
    finally:
        assert new.interrupt() == 0
        new.until_nothing_left()
        # A plain user's instance has no files outside of its home.
        new.run("purge", "--yes")
        assert not new.home.exists()


def follow(commands: Sequence[str], machine: Instance) -> None:
    """Run the commands on a machine."""
    srv = machine.home.parent
    owner = f"{srv.stat().st_uid}:{srv.stat().st_gid}"
    for command in commands:
        if command == "systemctl disable --now responsa":
            # Systemd sends this signal to the main process alone.
            machine.processes()
            machine.process.terminate()
            assert machine.process.wait() == 0
            machine.until_nothing_left()
        elif command == "systemctl enable --now responsa":
            machine.start().until_ready()
        else:
            here = command.replace("/srv", str(srv)).replace("responsa:responsa", owner)
            assert here != command
            subprocess.run(["sh", "-c", here], cwd=srv.parent, check=True)


def belongs_to_its_user(machine: Instance) -> None:
    user = machine.home.parent.stat().st_uid
    processes = machine.processes()
    for role, process in processes.items():
        assert process.uids().effective == user, role
    assert oct(machine.home.stat().st_mode)[-3:] == "700"
    assert oct((machine.home / "api-key").stat().st_mode)[-3:] == "600"
    if user != 0:
        # Only root needs a folder outside of the home.
        assert f"{machine.home}/" in " ".join(processes["postgres"].cmdline())


@pytest.mark.soak
def test_the_guide(machines: tuple[Instance, Instance]) -> None:
    old, new = machines
    leaving, arriving, checking = steps()
    old.start().until_ready()
    belongs_to_its_user(old)
    document = old.home.with_name("ferry.md")
    document.write_text(FERRY)
    old.run("ingest", str(document))
    key = old.key
    session = {"code": old.page().partition("#code=")[2]}
    cookies = httpx2.post(f"{old.url}/v1/sessions", json=session, timeout=PATIENCE).cookies
    with (
        Responsa(old.url, key) as client,
        client.ask(f"tokens={WORDS} pace_ms=60", agent="testing", include_deltas=True) as stream,
    ):
        # The answer has begun, and has not ended when its server stops.
        next(event for event in stream if event.HasField("delta"))
        turn = stream.turn
        follow(leaving, old)
    # The archive contains secrets.
    assert (old.home.parents[1] / "responsa.tar").stat().st_mode & 0o777 == 0o600
    # The other machine does not have this folder.
    old.home.rename(old.home.with_name("gone"))

    follow(arriving, new)
    assert new.key == key
    assert httpx2.get(f"{new.url}/v1/users/me", cookies=cookies, timeout=PATIENCE).status_code == 200
    printed = ""
    for command in checking:
        match command.split():
            case ["export", "RESPONSA_HOME=/srv/responsa"]:
                pass
            case ["runuser", "-u", "responsa", "--", "/opt/responsa/.venv/bin/responsa", *arguments]:
                printed = new.run(*arguments).stdout
            case _:
                raise AssertionError(command)
    assert "ferry" in printed
    assert ANSWER in new.run("ask", QUESTION).stdout
    with Responsa(new.url, key) as client:
        eventually(lambda: client.get_turn(turn).HasField("terminal_event"), "the turn ends")
        assert len(client.get_turn(turn).terminal_event.answer.text.split()) == WORDS
