"""If root runs the tests, a plain user runs the whole system once more: up, a question, Ctrl-C, purge."""

from __future__ import annotations

import os
import pwd
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.instance import Instance, free_port
from tests.system.conftest import FERRY

# Perhaps only root can read the interpreter and the checkout. Therefore this user may read all files, but can write
# only in its home.
CAPABILITY = "+dac_read_search"


@pytest.fixture
def theirs() -> Iterator[Instance]:
    nobody = pwd.getpwnam("nobody")
    folder = Path(tempfile.mkdtemp(prefix="rsu-"))
    (folder / "docs").mkdir()
    (folder / "docs" / "ferry.md").write_text(FERRY)
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    within = (
        "setpriv", f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups", "--no-new-privs",
        "--pdeathsig=keep",
        f"--inh-caps=-all,{CAPABILITY}", f"--ambient-caps=-all,{CAPABILITY}", f"--bounding-set=-all,{CAPABILITY}",
    )  # fmt: skip
    settings = {"RESPONSA_DOCS": str(folder), "HOME": str(folder)}
    one = Instance(folder / "home", free_port(), settings, within)
    try:
        yield one
    finally:
        one.end()
        shutil.rmtree(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="it is a plain user who runs the tests already")
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv, of util-linux")
def test_the_whole_as_a_plain_user(theirs: Instance) -> None:
    theirs.start().until_ready()
    said = theirs.said()
    assert said.index("Loading Responsa's own documents") < said.index("Responsa is ready")
    for role, process in theirs.processes().items():
        assert process.uids().effective == pwd.getpwnam("nobody").pw_uid, role
    assert "six in the morning" in theirs.run("ask", "When does the ferry to Skye leave from Mallaig?").stdout
    assert oct(theirs.home.stat().st_mode)[-3:] == "700"
    assert oct((theirs.home / "api-key").stat().st_mode)[-3:] == "600"
    # A plain user's PostgreSQL runs in the home folder. Only root needs a folder outside of the home.
    assert f"{theirs.home}/" in " ".join(theirs.processes()["postgres"].cmdline())
    assert theirs.interrupt() == 0
    assert not theirs.left()
    theirs.run("purge", "--yes")
    assert not theirs.home.exists()
