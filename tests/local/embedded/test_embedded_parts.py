"""PostgreSQL, Redis and Envoy, each by itself."""

from __future__ import annotations

import os
import signal
import stat
from collections.abc import Generator
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingUnixStreamServer
from threading import Thread

import psutil
import psycopg
import pytest
from embedded_instance import envoy_config
from embedded_running import eventually

from responsa_local.embedded import (
    EmbeddedEnvoy,
    EmbeddedError,
    EmbeddedPostgres,
    EmbeddedRedis,
    LocalLayout,
    ServerProcess,
    throwaway_postgres,
)
from responsa_local.embedded.postgres import postgres_processes
from tests.instance import free_port


@pytest.fixture(scope="module")
def postgres() -> Generator[EmbeddedPostgres]:
    with throwaway_postgres() as running:
        yield running


def scalar(connection: psycopg.Connection, query: str) -> object:
    row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return row[0]


def test_a_server_is_not_killed_while_it_drains(tmp_path: Path) -> None:
    server = ServerProcess(LocalLayout.of(tmp_path), ["true"], {}, tmp_path, drain_seconds=60.0)
    asked, killed = server.stop_steps
    assert (asked.signal, killed.signal) == (signal.SIGINT, signal.SIGKILL)
    assert asked.patience > 60.0


def test_a_server_that_reports_that_it_drains_is_not_silent(tmp_path: Path) -> None:
    class Draining(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(HTTPStatus.SERVICE_UNAVAILABLE)

        def address_string(self) -> str:
            return "unix"

    health = tmp_path / "health.sock"
    server = ServerProcess(LocalLayout.of(tmp_path), ["true"], {}, health, drain_seconds=0.0)
    assert not server.answers(10.0)
    with ThreadingUnixStreamServer(str(health), Draining) as serving:
        thread = Thread(target=serving.serve_forever, args=[0.01])
        thread.start()
        assert server.answers(10.0)
        serving.shutdown()
        thread.join()


def test_a_preloaded_server_waits_until_it_is_launched(tmp_path: Path) -> None:
    layout = LocalLayout.of(tmp_path / "home").prepare()
    code = "touch loaded; cat; touch let_go; exec sleep 60"
    server = ServerProcess(
        layout, ["sh", "-c", f"cd {tmp_path}; {code}"], os.environ, tmp_path, drain_seconds=5.0
    )
    server.preload()
    pid = server.pid
    eventually((tmp_path / "loaded").exists, "it is loaded")
    assert not (tmp_path / "let_go").exists()
    server.launch()
    eventually((tmp_path / "let_go").exists, "it is let go")
    assert server.pid == pid
    server.stop()
    server.launch()
    assert server.pid not in (None, pid)
    server.stop()
    server.preload()
    server.stop()
    assert not server.alive()


def test_versions_and_settings(postgres: EmbeddedPostgres) -> None:
    with psycopg.connect(postgres.dsn("app")) as connection:
        assert connection.info.server_version >= 180000
        assert scalar(connection, "SHOW fsync") == "on"
        assert scalar(connection, "SHOW synchronous_commit") == "on"
        assert scalar(connection, "SHOW listen_addresses") == ""
        assert scalar(connection, "SHOW plan_cache_mode") == "force_custom_plan"
        assert scalar(connection, "SHOW server_encoding") == "UTF8"
        provider = (
            "SELECT datlocprovider::text || ' ' || datlocale FROM pg_database WHERE datname = 'responsa'"
        )
        assert scalar(connection, provider) == "b C.UTF-8"
        assert scalar(connection, "SELECT '[3,4]'::vector <-> '[0,0]'") == 5


def test_roles(postgres: EmbeddedPostgres) -> None:
    query = "SELECT rolname, rolcanlogin, rolsuper, rolbypassrls FROM pg_roles WHERE rolname LIKE 'responsa%' ORDER BY 1"
    with psycopg.connect(postgres.dsn("superuser")) as connection:
        assert connection.execute(query).fetchall() == [
            ("responsa_app", True, False, False),
            ("responsa_log", True, False, False),
            ("responsa_owner", True, False, False),
            ("responsa_search", False, False, False),
        ]


def test_the_owner_makes_functions_that_run_as_the_search_role(postgres: EmbeddedPostgres) -> None:
    with psycopg.connect(postgres.dsn("owner"), autocommit=True) as connection:
        connection.execute("CREATE SCHEMA responsa")
        connection.execute("GRANT USAGE, CREATE ON SCHEMA responsa TO responsa_search")
        connection.execute("GRANT USAGE ON SCHEMA responsa TO responsa_app")
        connection.execute(
            "CREATE FUNCTION responsa.who() RETURNS text LANGUAGE sql SECURITY DEFINER RETURN current_user::text"
        )
        connection.execute("ALTER FUNCTION responsa.who() OWNER TO responsa_search")
    with psycopg.connect(postgres.dsn("app")) as connection:
        assert scalar(connection, "SELECT responsa.who()") == "responsa_search"
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("CREATE TABLE responsa.mine ()")


def test_a_wrong_password_does_not_get_in(postgres: EmbeddedPostgres) -> None:
    dsn = postgres.dsn("app").replace(postgres.layout.passwords.postgres_app, "wrong")
    with pytest.raises(psycopg.OperationalError, match="authentication failed"):
        psycopg.connect(dsn)


def test_no_password_in_any_argument(postgres: EmbeddedPostgres) -> None:
    arguments: list[str] = []
    for process in postgres_processes(postgres.layout):
        with suppress(psutil.NoSuchProcess):  # a backend may have ended in the meantime
            arguments.append(" ".join(process.cmdline()))
    assert arguments
    secrets = [
        postgres.dsn(role).split(":")[2].split("@")[0] for role in ("owner", "app", "log", "superuser")
    ]
    assert not [line for line in arguments for secret in secrets if secret in line]


def test_neither_statements_nor_values_are_logged(postgres: EmbeddedPostgres) -> None:
    with psycopg.connect(postgres.dsn("owner"), autocommit=True) as connection:
        connection.execute("CREATE TABLE asked (question text UNIQUE)")
        connection.execute("INSERT INTO asked VALUES ('an intimate question')")
        with pytest.raises(psycopg.errors.UniqueViolation):
            connection.execute("INSERT INTO asked VALUES ('an intimate question')")
    text = postgres.log.read_text()
    assert "intimate" not in text


def test_a_second_postgres_on_the_same_home_is_refused(postgres: EmbeddedPostgres) -> None:
    with pytest.raises(EmbeddedError, match="PostgreSQL already runs on the data folder"):
        EmbeddedPostgres(postgres.layout).start()
    assert postgres.ready()


@pytest.mark.usefixtures("earlier")
def test_start_and_stop_leave_no_process_and_no_socket(layout: LocalLayout) -> None:
    postgres, redis = EmbeddedPostgres(layout), EmbeddedRedis(layout)
    for _ in range(2):
        postgres.start()
        redis.start()
        started = [psutil.Process(part.process.pid) for part in (postgres, redis) if part.process]
        assert len(started) == 2
        postgres.stop()
        redis.stop()
        assert not [process for process in started if process.is_running()]
        assert not postgres_processes(layout)
        for folder in (layout.run, layout.postgres_run, layout.redis_run):
            assert not list(folder.iterdir())


@pytest.mark.usefixtures("earlier")
def test_the_postmaster_and_a_busy_backend_outlive_a_kill_of_their_starter_only_briefly(
    layout: LocalLayout,
) -> None:
    """The postmaster is killed with SIGKILL while a backend is busy. This must not delay the next start."""
    postgres = EmbeddedPostgres(layout)
    postgres.start()
    with psycopg.connect(postgres.dsn("owner"), autocommit=True) as connection:
        connection.execute("CREATE TABLE kept (line text)")
        connection.execute("INSERT INTO kept VALUES ('before')")
    busy = psycopg.connect(postgres.dsn("app"))
    backend = busy.info.backend_pid
    # This is one computation without a wait, so that the backend does not notice the end of its postmaster.
    busy.pgconn.send_query(b"SELECT count(*) FROM generate_series(1, 100000000000) a WHERE sqrt(a) < 0")
    eventually(lambda: psutil.Process(backend).cpu_times().user > 0.05, "a busy backend")
    assert postgres.process is not None
    os.kill(postgres.process.pid, signal.SIGKILL)
    eventually(lambda: not postgres.alive(), "the postmaster's end")
    assert psutil.pid_exists(backend)
    postgres.launch()
    assert not psutil.pid_exists(backend) or psutil.Process(backend).status() == psutil.STATUS_ZOMBIE
    eventually(postgres.ready, "PostgreSQL's return")
    with psycopg.connect(postgres.dsn("owner")) as connection:
        assert scalar(connection, "SELECT line FROM kept") == "before"
    busy.close()
    postgres.stop()


@pytest.mark.usefixtures("earlier")
def test_a_stale_pid_file_with_a_living_strangers_pid_is_no_obstacle(layout: LocalLayout) -> None:
    postgres = EmbeddedPostgres(layout)
    postgres.start()
    pid_file = layout.cluster / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    postgres.stop()
    pid_file.write_text("\n".join([str(os.getpid()), *lines[1:]]) + "\n")
    postgres.start()
    postgres.stop()


def test_an_interrupted_initdb_is_begun_anew(layout: LocalLayout) -> None:
    draft = layout.cluster.with_name(".postgres.new")
    draft.mkdir(mode=0o700)
    (draft / "PG_VERSION").write_text("18\n")
    postgres = EmbeddedPostgres(layout)
    postgres.start()
    postgres.stop()
    assert not draft.exists()


def test_redis_speaks_to_its_password_alone_and_keeps_nothing(layout: LocalLayout) -> None:
    import redis as client

    redis = EmbeddedRedis(layout)
    redis.start()
    with client.Redis.from_url(redis.url) as connection:
        connection.set("key", "value")
        assert connection.get("key") == b"value"
        assert connection.execute_command("CONFIG GET", "port") == {"port": "0"}
    with (
        pytest.raises(client.AuthenticationError),
        client.Redis(unix_socket_path=str(layout.redis_socket)) as nobody,
    ):
        nobody.get("key")
    assert redis.process is not None
    assert layout.passwords.redis not in " ".join(psutil.Process(redis.process.pid).cmdline())
    assert stat.S_IMODE(layout.redis_socket.stat().st_mode) == (0o700 if layout.account is None else 0o770)
    redis.stop()
    assert not list(layout.redis_run.glob("*.rdb"))


def test_envoy_starts_says_it_is_ready_and_ends(layout: LocalLayout) -> None:
    port = free_port()
    layout.envoy_config.write_text(envoy_config(layout, port))
    envoy = EmbeddedEnvoy(layout, layout.envoy_config, listen=("127.0.0.1", port), concurrency=1)
    envoy.start()
    second = EmbeddedEnvoy(layout, layout.envoy_config, listen=("127.0.0.1", port))
    with pytest.raises(EmbeddedError, match=f"Port {port} on 127.0.0.1 is in use"):
        second.start()
    assert envoy.ready()
    envoy.stop()
    assert not envoy.ready()


def test_envoy_tells_what_is_wrong_with_its_configuration(layout: LocalLayout, tmp_path: Path) -> None:
    config = tmp_path / "envoy.json"
    config.write_text('{"admin": {"adress": 1}}')
    envoy = EmbeddedEnvoy(layout, config)
    with pytest.raises(EmbeddedError, match=r"Envoy exited while starting .*envoy\.log"):
        envoy.start()
    assert "adress" in envoy.log.read_text()
    assert envoy.process is None
