"""Runs commands of `responsa` in forks of a process that has imported the command line.

A command takes 0.3 s of CPU time to import its modules, 0.6 s to 1.5 s if it reads a home or the files of an agent, and
0.03 s for everything else, and the tests start hundreds of commands. The process imports the modules of a command when
it is first called. `responsa()` names a program that is used like `responsa`: each command has its own process, with
the arguments, the environment, the folder and the files of its caller. Only signals do not reach the command, so a test
that sends one starts `python -m responsa_server`.
"""

from __future__ import annotations

import atexit
import importlib
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

from responsa_server.cli.main import all_commands, main
from responsa_server.system.importing import pause_collection

ROOT = Path(__file__).resolve().parents[1]
HEAD = 8
"""The number of bytes that give the length of a request."""
LATE = {
    "agents": ("responsa_local.commands.agents",),
    "ask": ("responsa_server.cli.markdown",),
    "chat": ("responsa_server.cli.markdown",),
    "sources": ("responsa_etl.checking",),
}
"""What a command imports while it runs, by the command's name."""
PROGRAM = f"""#!{sys.executable} -IS
import array, json, os, socket, sys

request = json.dumps([sys.argv[1:], dict(os.environ), os.getcwd()]).encode()
with socket.socket(socket.AF_UNIX) as server:
    server.connect(os.path.join(os.path.dirname(__file__), "socket"))
    files = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0, 1, 2]))]
    server.sendmsg([len(request).to_bytes({HEAD}, "big")], files)
    server.sendall(request)
    code = int(server.recv(16) or b"1")
if code < 0:
    os.kill(os.getpid(), -code)
sys.exit(code)
"""


@cache
def responsa() -> tuple[str, ...]:
    """The command line of `responsa` without its arguments. Its server starts with the first call in this process, and
    ends with this process."""
    if sys.platform != "linux":
        return (sys.executable, "-m", "responsa_server")
    folder = Path(tempfile.mkdtemp(prefix="rsf-"))
    program = folder / "responsa"
    program.write_text(PROGRAM, encoding="utf-8")
    program.chmod(0o755)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "socket"))
        listener.listen(64)
        # The server ends with its stdin. In a session of its own, it does not get the Ctrl-C that a user of the tests presses.
        server = subprocess.Popen(
            [sys.executable, "-m", "tests.forked", str(listener.fileno())],
            cwd=ROOT,
            # A fork has only one thread, so the others of numpy would be missing in it.
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            pass_fds=[listener.fileno()],
            start_new_session=True,
        )
    atexit.register(shutil.rmtree, folder)
    atexit.register(server.communicate)
    return (str(program),)


def serve(listener: socket.socket) -> None:
    """Fork for each command. Returns only in the forks, which have become the command's process."""
    while listener in select.select([listener, sys.stdin], [], [])[0]:
        connection, _ = listener.accept()
        head, files, _, _ = socket.recv_fds(connection, HEAD, 3)
        request = json.loads(connection.recv(int.from_bytes(head, "big"), socket.MSG_WAITALL))
        _prepare(request[0])
        if os.fork() == 0:
            listener.close()
            _become_command(connection, files, *request)
            return
        connection.close()
        for file in files:
            os.close(file)
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
    sys.exit()


def _prepare(arguments: Sequence[str]) -> None:
    """Import what the command will import."""
    for command in all_commands():
        if command.name in arguments[:1]:
            with pause_collection():
                for name in (command.module, *LATE.get(command.name, ())):
                    importlib.import_module(name)
    assert len([*Path("/proc/self/task").iterdir()]) == 1, "a fork would lack the threads of a module"


def _become_command(
    connection: socket.socket,
    files: Sequence[int],
    arguments: Sequence[str],
    environment: Mapping[str, str],
    folder: str,
) -> None:
    """Fork the command. This process ends it if the caller is gone, and sends the exit code to the caller."""
    command = os.fork()
    if command != 0:
        for file in files:
            os.close(file)
        ended = os.pidfd_open(command)
        if ended not in select.select([ended, connection], [], [])[0]:
            os.kill(command, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(command, 0)[1])
        connection.send(str(code).encode())
        os._exit(0)
    connection.close()
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.argv = ["responsa", *arguments]
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115  the three stay open
    sys.stdout = open(1, "w", 1 if os.isatty(1) else -1, "utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", 1, "utf-8", "backslashreplace", closefd=False)  # noqa: SIM115


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as opened:
        serve(opened)
    main()
