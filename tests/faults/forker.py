"""Starts replicas fast: `python -m tests.faults.forker`. This process imports all modules once, and then forks for each replica.

Each line on stdin is an `Order` for one replica (`Order.to_json`), or `import MODULE` for a module that further replicas
need. Responses go as lines of JSON to stdout: `{"name", "pid"}` for a replica that was started, and `{"pid", "status"}`
for a replica that has ended. Forking is safe in this process, because it has not started any thread, event loop or
gRPC. All replicas end together with this process, which ends when its stdin closes.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import select
import signal
import sys
import traceback
from collections.abc import Sequence
from typing import Final

from responsa_local.embedded.spawn import die_with_parent
from tests.faults.replica import Order, main

# The modules that `responsa_server.app.serve.running` and the libraries below it import late. The runtime of the
# embedding model is left out, because
# its import starts a thread. A module that is missing from this list makes each start slower, which counts as an error.
HEAVY: Final[Sequence[str]] = (
    "responsa_server.app.front",
    "responsa_server.app.assemble",
    "responsa_formats.sandbox.pool",
    "responsa_server.stores.postgres.jobs",
    "responsa_server.stores.redis",
    "responsa_lab.testing.agent",
    "anyio._backends._asyncio",
    "httpcore2",
    "uvicorn.protocols.http.httptools_impl",
    "uvicorn.lifespan.on",
)


def nurse() -> None:
    """Start replicas until stdin ends."""
    for name in HEAVY:
        _import(name)
    gc.collect()
    gc.freeze()
    alarm, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, _wake)
    _say({"ready": os.getpid()})
    pending = b""
    while True:
        readable, _, _ = select.select([0, alarm], [], [])
        if alarm in readable:
            os.read(alarm, 4096)
            _reap()
        if 0 not in readable:
            continue
        data = os.read(0, 1 << 16)
        if not data:
            return
        *lines, pending = (pending + data).split(b"\n")
        for line in lines:
            if line.startswith(b"import "):
                _import(line.removeprefix(b"import ").decode())
                gc.collect()
                gc.freeze()
                continue
            order = Order.from_json(line.decode())
            _say({"name": order.name, "pid": _bear(order, alarm, wake)})


def _import(name: str) -> None:
    importlib.import_module(name)
    assert len(os.listdir("/proc/self/task")) == 1, "an import started a thread: forking is not safe any more"  # noqa: PTH208


def _wake(number: int, frame: object) -> None:
    """Do nothing. When the signal arrived, Python already wrote to the wakeup file descriptor."""


def _bear(order: Order, *inherited: int) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for descriptor in inherited:
            os.close(descriptor)
        os.setsid()
        die_with_parent(signal.SIGKILL)
        log = os.open(order.log or os.devnull, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        main(order)
        code = 0
    except BaseException:  # a child must never return to the forker's loop
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _reap() -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        _say({"pid": pid, "status": os.waitstatus_to_exitcode(status)})


def _say(value: dict[str, object]) -> None:
    os.write(1, json.dumps(value).encode() + b"\n")


if __name__ == "__main__":
    nurse()
