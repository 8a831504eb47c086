"""If root runs these tests, `make soak` runs them a second time as a plain user, in a process that cannot become root
again. Tests whose result cannot differ are left out.

In a normal run, tests/system/test_moving.py starts a whole instance as a plain user. As there, the user may read all
files, because perhaps only root can read the interpreter and the checkout; the user can write only below a folder of
their own.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.faults.forms import ROOT

HERE = Path(__file__).parent
CAPABILITY = "+dac_read_search"
SAME = (
    "versions_and_settings",
    "test_roles",
    "functions_that_run_as_the_search_role",
    "wrong_password",
    "statements_nor_values",
    "envoy_starts",
    "envoy_tells",
    "sigint_was_inherited_ignored",
    "ctrl_c_during_a_long_hook",
    "second_ctrl_c",
    "killed_part and not PostgreSQL",
    "killed_backend",
    "killed_servers_worker",
    "kill_9_of_the_supervisor and not both",
    "second_supervisor",
    "busy_port",
    "server_that_cannot_start",
    "needed_part_that_dies",
    "redis_is_started_again",
    "two_instances_side_by_side",
    "parts_run_in_sessions",
)
"""The tests that do not depend on the user. They involve no folder, user or permission, so root's run covers them."""


@pytest.fixture
def their_folder() -> Generator[Path]:
    """A folder directly below the system's temporary folder, because only root can enter pytest's folders."""
    folder = Path(tempfile.mkdtemp(prefix="rsp-"))
    nobody = pwd.getpwnam("nobody")
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.skipif(os.geteuid() != 0, reason="it is a plain user who runs the tests already")
def test_what_may_differ_again_as_a_plain_user(their_folder: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    done = subprocess.run(
        [
            "setpriv", f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups", "--no-new-privs",
            f"--inh-caps=-all,{CAPABILITY}", f"--ambient-caps=-all,{CAPABILITY}", f"--bounding-set=-all,{CAPABILITY}",
            sys.executable, "-m", "pytest", "-n", "0", "-q", "-p", "no:cacheprovider", f"--basetemp={their_folder / 't'}",
            # The language model's server is the same for every user.
            f"--ignore={HERE / 'test_embedded_llama.py'}", "-k", "not (" + ") and not (".join(SAME) + ")", str(HERE),
        ],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "HOME": str(their_folder), "TMPDIR": str(their_folder), "PYTHONDONTWRITEBYTECODE": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=500,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:]
    assert re.search(r"\d+ passed", done.stdout), done.stdout[-2000:]
