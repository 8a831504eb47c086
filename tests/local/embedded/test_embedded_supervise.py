"""The whole instance: orderly ends, violent ends, and the next start."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path

import psutil
import psycopg
import pytest
from embedded_running import Running, Start, eventually

from responsa_local.embedded import EmbeddedError, EmbeddedPostgres, LocalLayout, purge
from responsa_local.embedded.restarting import request_restart
from tests.instance import free_port

PARTS = ("PostgreSQL", "Redis", "The server", "Envoy")


def write(home: Path, line: str) -> None:
    with psycopg.connect(EmbeddedPostgres(LocalLayout.of(home)).dsn("owner"), autocommit=True) as connection:
        connection.execute("INSERT INTO kept VALUES (%s)", [line])


def read(home: Path) -> list[str]:
    with psycopg.connect(EmbeddedPostgres(LocalLayout.of(home)).dsn("owner")) as connection:
        return [str(row[0]) for row in connection.execute("SELECT line FROM kept ORDER BY 1").fetchall()]


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Generator[Running]:
    """An instance that outlives what the tests do to it. A test may end PostgreSQL and the server once, because a third
    end in a row stops everything."""
    home = tmp_path_factory.mktemp("standing") / "home"
    running = Running(home, port=free_port()).until_ready()
    yield running
    running.process.send_signal(signal.SIGTERM)
    assert running.process.wait(60) == 0
    running.until_nothing_left()
    purge(LocalLayout.of(home, repair=True))


def test_it_serves_stops_on_ctrl_c_and_finds_its_data_again(start: Start, home: Path) -> None:
    first = start(new=True).until_ready()
    assert first.get() == "ok"
    write(home, "one")
    assert first.stop() == 0
    assert first.left() == []
    assert "runs again" not in first.said()
    # A shell gives its background jobs a SIGINT that is ignored.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        second = start()
    finally:
        signal.signal(signal.SIGINT, before)
    second.until_ready()
    assert read(home) == ["one"]
    second.interrupt()
    assert second.process.wait(60) == 0
    assert second.left() == []


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
def test_a_killed_part_is_told_in_one_line_and_started_again(standing: Running, name: str) -> None:
    write(standing.home, name)
    workers = standing.part("The server").children()
    assert workers
    before = len(standing.said())
    standing.kill(standing.part(name).pid)
    eventually(lambda: f"{name} runs again." in standing.said()[before:], f"{name} again")
    assert standing.said()[before:].splitlines()[0] == (
        f"responsa: {name} exited unexpectedly (SIGKILL); starting it again."
    )
    assert standing.get() == "ok"
    assert name in read(standing.home)
    # The server's worker does not outlive it, and outlives the end of every other part.
    assert [worker.is_running() for worker in workers] == [name != "The server"] * len(workers)


def test_a_server_that_is_alive_but_silent_is_started_again(start: Start) -> None:
    """Its start takes longer than the silence after which it is killed, and is not cut short."""
    running = start("--alone").until_ready()
    lines = list[str]()
    assert running.said() == ""
    for silencing, how in (
        (signal.SIGSTOP, "was neither on a core nor waiting for one for 1 s without an answer (hang)"),
        (signal.SIGUSR1, "has used a core for 1 s without an answer (spin)"),
    ):
        running.part("The server").send_signal(silencing)
        lines += [
            f"responsa: The server {how}.",
            "responsa: The server exited unexpectedly (SIGKILL); starting it again.",
            "responsa: The server runs again.",
        ]
        eventually(lambda lines=lines: running.said().splitlines() == lines, silencing.name)
    assert running.stop() == 0


def test_a_restart_replaces_the_server_and_a_failed_one_does_not(start: Start, home: Path) -> None:
    running = start("--alone").until_ready()
    layout = LocalLayout.of(home)
    old = running.part("The server").pid
    assert [*request_restart(layout.restart_socket)] == ["The server was replaced."]
    new = running.part("The server").pid
    (layout.run / "broken").touch()
    with pytest.raises(EmbeddedError, match=r"The server was not replaced: .*no such setting"):
        list(request_restart(layout.restart_socket))
    eventually(
        lambda: running.part("The server").pid == new, "the failed server is gone, and the other stays"
    )
    calls = [line["calls"] for line in running.lines() if "calls" in line]
    assert calls == [[old, new], [new], [new]]
    (layout.run / "broken").unlink()
    running.kill(new)
    running.until_said("The server runs again.")
    assert [*request_restart(layout.restart_socket)] == ["The server was replaced."]
    assert running.stop() == 0
    with pytest.raises(EmbeddedError, match="does not run on this data folder"):
        list(request_restart(layout.restart_socket))


def test_parts_are_supervised_during_an_errand(start: Start, home: Path) -> None:
    running = start("--alone", "--errand")
    eventually(lambda: {"errand": "begun"} in running.lines(), "the errand")
    for times, how in enumerate((signal.SIGSTOP, signal.SIGKILL), start=1):
        running.part("The server").send_signal(how)
        eventually(lambda times=times: running.said().count("The server runs again.") == times, how.name)
    assert "responsa: Waiting for: The server\n" in running.said()
    running.until_said("responsa: Waiting for: The errand\n")
    assert running.lines()[-1] == {"errand": "begun"}  # what the server left was killed; the errand was not
    (home / "go").touch()
    running.until_ready()
    assert running.lines()[-2] == {"errand": 0}
    assert running.stop() == 0
    assert running.left() == []


def test_ctrl_c_during_an_errand_leaves_nothing(start: Start) -> None:
    running = start("--alone", "--errand")
    eventually(lambda: {"errand": "begun"} in running.lines(), "the errand")
    assert running.stop() == 0
    assert running.left() == []
    assert running.lines()[-1] == {"errand": "begun"}


def test_a_killed_backend_does_not_end_postgres(standing: Running) -> None:
    client = psycopg.connect(EmbeddedPostgres(LocalLayout.of(standing.home)).dsn("app"))
    before = standing.said()
    standing.kill(client.info.backend_pid)

    def back() -> bool:
        try:
            read(standing.home)
        except psycopg.OperationalError:
            return False
        return True

    eventually(back, "PostgreSQL's own recovery")
    client.close()
    assert standing.said() == before


def test_kill_9_leaves_no_process_and_the_next_start_finds_its_data(start: Start, home: Path) -> None:
    running = start().until_ready()
    for victims in ("guard", "supervisor", "both"):
        write(home, victims)
        busy = psycopg.connect(EmbeddedPostgres(LocalLayout.of(home)).dsn("app"))
        busy.pgconn.send_query(b"SELECT count(*) FROM generate_series(1, 100000000000) a WHERE sqrt(a) < 0")
        backend = psutil.Process(busy.info.backend_pid)
        eventually(lambda backend=backend: backend.cpu_times().user > 0.05, "a busy backend")
        supervisor = running.supervisor
        worker = running.part("The server").children()[0]
        if victims in ("supervisor", "both"):
            if victims == "both":
                psutil.Process(
                    running.process.pid
                ).suspend()  # the guard cannot clean up after the supervisor
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
        assert ("SIGKILL ended the supervisor" in running.said()) == (victims == "supervisor")
        running = start().until_ready()
        assert victims in read(home)
    # Everything at once, and a start right after it.
    for process in running.processes():
        if process.is_running():
            process.kill()
    last = start().until_ready()
    assert len(read(home)) == 3
    assert last.get() == "ok"
    assert last.stop() == 0


def test_a_second_supervisor_says_so_in_one_sentence(standing: Running) -> None:
    second = Running(standing.home)
    assert second.process.wait(60) == 1
    assert second.said() == (
        f"responsa: Responsa already runs on the data folder {standing.home} (process {standing.process.pid}); "
        "stop it first, or set RESPONSA_HOME to another folder.\n"
    )
    assert standing.get() == "ok"


def test_a_busy_port_is_told_before_anything_starts(start: Start, home: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen(1)
        running = start(port=int(other.getsockname()[1]), new=True)
        assert running.process.wait(60) == 1
    assert running.said() == (
        f"responsa: Port {running.port} on 127.0.0.1 is in use by another program; "
        "stop that program, or set RESPONSA_PORT to a free port.\n"
    )
    assert not LocalLayout.of(home).cluster.exists()


def test_a_server_that_cannot_start_stops_all_with_its_reason(start: Start, home: Path) -> None:
    running = start("--broken-server")
    assert running.process.wait(60) == 1
    assert running.said() == (
        "responsa: The server exited while starting (exit 1: no such setting); "
        f"see {home / 'logs' / 'server.log'}.\n"
    )
    assert running.left() == []


def test_a_needed_part_that_dies_again_and_again_stops_all(start: Start) -> None:
    running = start().until_ready()

    def kill_envoy() -> bool:
        if running.process.poll() is not None:
            return True
        for process in running.processes():
            with suppress(psutil.NoSuchProcess):
                if process.name().startswith("envoy"):
                    process.kill()
        return False

    eventually(kill_envoy, "an end")
    assert running.process.wait(60) == 1
    last = running.said().splitlines()[-1]
    assert last.startswith("responsa: Envoy exited 3 times in a row (SIGKILL)")
    assert "envoy.log" in last
    assert running.left() == []


def test_redis_is_started_again_however_often_it_dies(standing: Running) -> None:
    before = standing.said().count("Redis runs again.")
    for deaths in range(1, 6):  # these tests allow three restarts of a needed part
        standing.kill(standing.part("Redis").pid)
        eventually(
            lambda deaths=deaths: standing.said().count("Redis runs again.") == before + deaths, "Redis"
        )
    assert standing.process.poll() is None
    assert standing.get() == "ok"


def test_two_instances_side_by_side(standing: Running, start: Start, home: Path) -> None:
    second = start().until_ready()
    write(standing.home, "first")
    assert read(home) == []
    before = standing.said().count("PostgreSQL runs again.")
    standing.kill(standing.part("PostgreSQL").pid)
    eventually(lambda: standing.said().count("PostgreSQL runs again.") == before + 1, "PostgreSQL")
    assert second.get() == "ok"
    assert read(home) == []
    assert second.stop() == 0
    assert standing.get() == "ok"


def test_parts_run_in_sessions_of_their_own(standing: Running) -> None:
    sessions = {os.getsid(process.pid) for process in standing.processes()[2:]}
    assert os.getsid(standing.process.pid) not in sessions


def test_a_disk_that_fills_up_is_named_and_the_database_returns_when_there_is_room(
    start: Start, home: Path, as_root: None
) -> None:
    """A real, small disk for root's database. It is mounted where no other process sees it."""
    disk = "mount -t tmpfs -o size=420m tmpfs /var/lib/responsa"
    within = ["unshare", "--mount", "sh", "-c", f'{disk} && exec "$@"', "sh"]
    Path("/var/lib/responsa").mkdir(exist_ok=True)
    if subprocess.run([*within, "true"], check=False, capture_output=True).returncode != 0:
        pytest.skip("this machine lets root mount nothing, not even for itself")
    running = start(within=within, new=True).until_ready()
    layout = LocalLayout.of(home)
    inside = Path(f"/proc/{running.process.pid}/root")
    filler = inside / "var/lib/responsa/filler"
    with filler.open("wb") as file:
        free = shutil.disk_usage(filler.parent).free
        os.posix_fallocate(file.fileno(), 0, free - (4 << 20))
    running.until_said("has only")

    def writes() -> bool:
        try:
            with psycopg.connect(
                EmbeddedPostgres(layout).dsn("superuser"),
                host=f"{inside}{layout.postgres_run}",
                autocommit=True,
                connect_timeout=5,
            ) as connection:
                connection.execute("SELECT pg_logical_emit_message(false, 'x', repeat('x', 10000000))")
        except psycopg.OperationalError:
            return False
        return True

    full = f"responsa: The disk that holds {layout.cluster.parent} is full; free at least 200 MB there."
    eventually(lambda: not writes() and full in running.said(), "a full disk")
    filler.unlink()
    running.until_said("PostgreSQL runs again.")
    eventually(writes, "room")
    running.stop()
    assert running.left() == []
