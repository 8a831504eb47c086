"""The whole instance: orderly ends, violent ends, and the next start."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import psutil
import psycopg
import pytest
from embedded_running import Running, Start, eventually, free_port

from responsa_server.embedded import EmbeddedPostgres, Layout, purge

PARTS = ("PostgreSQL", "Redis", "The server", "Envoy")


def write(home: Path, line: str) -> None:
    with psycopg.connect(EmbeddedPostgres(Layout.of(home)).dsn("owner"), autocommit=True) as connection:
        connection.execute("INSERT INTO kept VALUES (%s)", [line])


def read(home: Path) -> list[str]:
    with psycopg.connect(EmbeddedPostgres(Layout.of(home)).dsn("owner")) as connection:
        return [str(row[0]) for row in connection.execute("SELECT line FROM kept ORDER BY 1").fetchall()]


def test_it_serves_stops_on_ctrl_c_and_finds_its_data_again(start: Start, home: Path) -> None:
    first = start().until_ready()
    assert first.get() == "ok"
    write(home, "one")
    assert first.stop() == 0
    assert first.left() == []
    assert "runs again" not in first.said()
    second = start().until_ready()
    assert read(home) == ["one"]
    second.process.send_signal(signal.SIGTERM)
    assert second.process.wait(60) == 0
    assert second.left() == []


def test_it_stops_in_order_although_sigint_was_inherited_ignored(start: Start) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        running = start()
    finally:
        signal.signal(signal.SIGINT, before)
    running.until_ready()
    running.interrupt()
    assert running.process.wait(60) == 0


def test_ctrl_c_during_a_long_hook(start: Start) -> None:
    running = start("--slow-hook")
    eventually(lambda: bool(running.lines()), "the hook")
    assert running.stop() == 0
    assert running.left() == []


def test_a_second_ctrl_c_hastens_and_leaves_nothing(start: Start) -> None:
    running = start().until_ready()
    server = psutil.Process(running.pid_of("The server"))
    server.suspend()  # so that the server does not react to SIGTERM
    running.interrupt()
    running.interrupt()
    running.process.wait(60)
    assert running.left() == []


@pytest.mark.parametrize("name", PARTS)
def test_a_killed_part_is_told_in_one_line_and_started_again(start: Start, home: Path, name: str) -> None:
    running = start().until_ready()
    write(home, "kept")
    running.kill(running.pid_of(name))
    running.until_said(f"{name} runs again.")
    assert running.said().splitlines()[0] == (
        f"responsa: {name} ended unexpectedly (SIGKILL); starting it again."
    )
    assert running.get() == "ok"
    assert read(home) == ["kept"]
    assert running.stop() == 0
    assert running.left() == []


def test_a_killed_backend_does_not_end_postgres(start: Start, home: Path) -> None:
    running = start().until_ready()
    client = psycopg.connect(EmbeddedPostgres(Layout.of(home)).dsn("app"))
    running.kill(client.info.backend_pid)

    def back() -> bool:
        try:
            return read(home) == []
        except psycopg.OperationalError:
            return False

    eventually(back, "PostgreSQL's own recovery")
    client.close()


def test_a_killed_servers_worker_does_not_outlive_it(start: Start) -> None:
    running = start().until_ready()
    server = psutil.Process(running.pid_of("The server"))
    workers = server.children()
    assert workers
    running.kill(server.pid)
    running.until_said("The server runs again.")
    assert not [worker for worker in workers if worker.is_running()]


@pytest.mark.parametrize("victims", ["guard", "supervisor", "both"])
def test_kill_9_of_the_supervisor_leaves_no_process(start: Start, home: Path, victims: str) -> None:
    running = start().until_ready()
    write(home, "kept")
    busy = psycopg.connect(EmbeddedPostgres(Layout.of(home)).dsn("app"))
    busy.pgconn.send_query(b"SELECT count(*) FROM generate_series(1, 100000000000) a WHERE sqrt(a) < 0")
    eventually(lambda: psutil.Process(busy.info.backend_pid).cpu_times().user > 0.05, "a busy backend")
    supervisor = running.supervisor
    worker = psutil.Process(running.pid_of("The server")).children()[0]
    if victims in ("supervisor", "both"):
        if victims == "both":
            psutil.Process(running.process.pid).suspend()  # the guard cannot clean up after the supervisor
        running.kill(supervisor.pid)
    if victims in ("guard", "both"):
        running.kill(running.process.pid)
    running.process.wait(60)
    if victims == "both":
        # The kernel signals all parts except the stand-in's worker, so the test kills that worker. (A real worker asks
        # the kernel for a signal when its parent dies.)
        worker.kill()
    running.until_nothing_left()
    busy.close()
    second = start().until_ready()
    assert read(home) == ["kept"]
    assert second.stop() == 0
    if victims == "supervisor":
        assert "SIGKILL ended the supervisor" in running.said()


def test_a_start_right_after_kill_9_of_everything(start: Start, home: Path) -> None:
    running = start().until_ready()
    write(home, "kept")
    for process in running.processes():
        if process.is_running():
            process.kill()
    second = start().until_ready()
    assert read(home) == ["kept"]
    assert second.get() == "ok"


def test_a_second_supervisor_says_so_in_one_sentence(start: Start) -> None:
    first = start().until_ready()
    second = start()
    assert second.process.wait(60) == 1
    assert second.said() == (
        f"responsa: Responsa already runs on the data folder {first.home} (process {first.process.pid}); "
        "stop it first, or set RESPONSA_HOME to another folder.\n"
    )
    assert first.get() == "ok"


def test_a_busy_port_is_told_before_anything_starts(start: Start, home: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen(1)
        running = start(port=int(other.getsockname()[1]))
        assert running.process.wait(60) == 1
    assert running.said() == (
        f"responsa: Port {running.port} on 127.0.0.1 is in use by another program; "
        "stop that program, or set RESPONSA_PORT to a free port.\n"
    )
    assert not Layout.of(home).cluster.exists()


def test_a_server_that_cannot_start_stops_all_with_its_reason(start: Start, home: Path) -> None:
    running = start("--broken-server")
    assert running.process.wait(60) == 1
    assert running.said() == (
        "responsa: The server ended while starting (exit 1: no such setting); "
        f"see {home / 'logs' / 'server.log'}.\n"
    )
    assert running.left() == []


def test_a_needed_part_that_dies_again_and_again_stops_all(start: Start) -> None:
    running = start().until_ready()

    def kill_envoy() -> bool:
        if running.process.poll() is not None:
            return True
        for process in running.processes():
            if process.is_running() and process.name().startswith("envoy"):
                process.kill()
        return False

    eventually(kill_envoy, "an end")
    assert running.process.wait(60) == 1
    last = running.said().splitlines()[-1]
    assert last.startswith("responsa: Envoy ended 3 times in a row (SIGKILL)")
    assert "envoy.log" in last
    assert running.left() == []


def test_redis_is_started_again_however_often_it_dies(start: Start) -> None:
    running = start().until_ready()
    for deaths in range(1, 6):  # these tests allow three restarts of a needed part
        for process in running.processes():
            if process.is_running() and process.name() == "redis-server":
                process.kill()
        eventually(lambda deaths=deaths: running.said().count("Redis runs again.") == deaths, "Redis")
    assert running.process.poll() is None
    assert running.get() == "ok"


def test_two_instances_side_by_side(start: Start, tmp_path: Path) -> None:
    first = start().until_ready()
    other_home = tmp_path / "other"
    second = Running(other_home, port=free_port()).until_ready()
    write(first.home, "first")
    assert read(other_home) == []
    first.kill(first.pid_of("PostgreSQL"))
    first.until_said("PostgreSQL runs again.")
    assert second.get() == "ok"
    assert read(other_home) == []
    assert second.stop() == 0
    second.until_nothing_left()
    purge(Layout.of(other_home))
    assert first.get() == "ok"


def test_parts_run_in_sessions_of_their_own(start: Start) -> None:
    running = start().until_ready()
    sessions = {os.getsid(process.pid) for process in running.processes()[2:]}
    assert os.getsid(running.process.pid) not in sessions


def test_a_disk_that_fills_up_stops_all_and_is_named(start: Start, home: Path, as_root: None) -> None:
    """A real, small disk for root's database. It is mounted where no other process sees it."""
    disk = "mount -t tmpfs -o size=420m tmpfs /var/lib/responsa"
    within = ["unshare", "--mount", "sh", "-c", f'{disk} && exec "$@"', "sh"]
    Path("/var/lib/responsa").mkdir(exist_ok=True)
    if subprocess.run([*within, "true"], check=False, capture_output=True).returncode != 0:
        pytest.skip("this machine lets root mount nothing, not even for itself")
    running = start(within=within).until_ready()
    layout = Layout.of(home)
    inside = Path(f"/proc/{running.process.pid}/root")
    filler = inside / "var/lib/responsa/filler"
    with filler.open("wb") as file:
        free = shutil.disk_usage(filler.parent).free
        os.posix_fallocate(file.fileno(), 0, free - (4 << 20))
    running.until_said("has only")

    def write_ahead_until_it_breaks() -> bool:
        try:
            with psycopg.connect(
                EmbeddedPostgres(layout).dsn("superuser"),
                host=f"{inside}{layout.postgres_run}",
                autocommit=True,
                connect_timeout=5,
            ) as connection:
                connection.execute("SELECT pg_logical_emit_message(false, 'x', repeat('x', 10000000))")
        except psycopg.OperationalError:
            pass
        return running.process.poll() is not None

    eventually(write_ahead_until_it_breaks, "an end")
    assert running.process.wait() == 1
    assert running.said().splitlines()[-1] == (
        f"responsa: The disk that holds {layout.cluster.parent} is full; free at least 200 MB there and start again."
    )
    assert running.left() == []
