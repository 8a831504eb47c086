"""The containers of deploy/compose, as processes, and commands with an external PostgreSQL that DATABASE_URL names. The
owner of the database may create roles, and needs no other privileges.
"""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import urlopen

import psycopg
import pytest
import yaml
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from responsa.admin.v1.system_status_pb2 import Health
from responsa_client import Responsa
from responsa_local.embedded import EmbeddedPostgres, LocalLayout, throwaway_layout
from responsa_local.embedded.postgres import package_root
from responsa_local.embedded.redis import redis_binary
from responsa_server.app.waiting import Reaching
from responsa_server.stores.postgres.migrate import MigrationError, migrate
from responsa_server.system.fixable import Fixable
from tests import seeds
from tests.certificates import certificate
from tests.forked import responsa
from tests.instance import ROOT, START_PATIENCE, eventually, free_port, plain_environment, short_folder
from tests.system.door import Door, door_to
from tests.tied import tied
from tools.deploy_check import COMPOSE, RENDERED, manifests


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedPostgres]:
    """A PostgreSQL without any Responsa data, and a user who may create roles."""
    with throwaway_layout() as layout:
        seeds.plant(layout)
        postgres = EmbeddedPostgres(layout)
        postgres.start()
        with psycopg.connect(postgres.dsn("superuser", database="postgres"), autocommit=True) as connection:
            connection.execute("drop database responsa")
            for role in ("responsa_owner", "responsa_app", "responsa_log", "responsa_search"):
                connection.execute(f"drop role {role}")  # pyright: ignore
            connection.execute("create role house login createrole password 'open sesame'")
        try:
            yield postgres
        finally:
            postgres.stop()


@pytest.fixture
def outside(server: EmbeddedPostgres) -> Iterator[str]:
    """The URL of an empty database, with its owner as the user."""
    superuser = server.dsn("superuser", database="postgres")
    with psycopg.connect(superuser, autocommit=True) as connection:
        connection.execute("create database house owner house")
        with psycopg.connect(server.dsn("superuser", database="house"), autocommit=True) as inside:
            inside.execute("create extension vector")
        yield make_conninfo(superuser, dbname="house", user="house", password="open sesame")
        connection.execute("drop database house with (force)")


@pytest.fixture
def folder() -> Iterator[Path]:
    with short_folder() as found:
        yield found


SERVICES: Final = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))["services"]
PROMETHEUS: Final = ROOT / "deploy" / "prometheus" / "prometheus.yml"
DOCKERFILE: Final = (ROOT / "deploy" / "docker" / "Dockerfile").read_text(encoding="utf-8")


class Containers:
    """The services of compose.yaml as processes of this machine: with its commands, its variables and its secrets, but
    with other ports, places and names of hosts."""

    def __init__(self, folder: Path, postgres: EmbeddedPostgres) -> None:
        self.folder = folder
        self.logs = folder / "logs"
        self.logs.mkdir()
        self._ports = {port: str(free_port()) for port in ("8080", "9001", "9101", "9201")}
        self._workers = {**self._ports, **{port: str(free_port()) for port in ("9101", "9201")}}
        shutil.copy(COMPOSE.with_name("secrets.sh"), folder)
        subprocess.run(["sh", folder / "secrets.sh"], check=True)
        self.secrets = folder / "secrets"
        self.database = make_conninfo(self.secret("DATABASE_URL"), **_host(postgres))
        for name, text in {
            "DATABASE_URL": self.database,
            "REDIS_URL": f"unix://:{urlsplit(self.secret('REDIS_URL')).password}@{folder}/redis.sock",
        }.items():
            (self.secrets / name).chmod(0o600)
            (self.secrets / name).write_text(text)

    @property
    def port(self) -> int:
        return int(self._ports["8080"])

    def secret(self, name: str) -> str:
        return (self.secrets / name).read_text(encoding="utf-8").strip()

    def environment(self, service: str) -> dict[str, str]:
        """The variables of a container. The image names the data folder."""
        written = SERVICES[service]["environment"]
        assert "RESPONSA_HOME=/data" in DOCKERFILE
        given = {
            name: self._here(service, re.sub(r"\$\{\w+:-(.*)\}", r"\1", text))
            for name, text in written.items()
        }
        return plain_environment(**given, RESPONSA_HOME=str(self.folder / service))

    def run(self, service: str, *arguments: str) -> str:
        """What another command in a service's container prints."""
        command = [sys.executable, "-m", "responsa_server", *arguments]
        done = subprocess.run(
            command, env=self.environment(service), capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    def start(self, service: str) -> subprocess.Popen[bytes]:
        arguments = [self._here(service, str(one)) for one in SERVICES[service]["command"]]
        if service in ("server", "worker"):
            seeds.plant_model(LocalLayout.of(self.folder / service).prepare())
        with (self.logs / service).open("wb") as log:
            command = tied(sys.executable, "-m", "responsa_server", *arguments)
            return subprocess.Popen(command, env=self.environment(service), stdout=log, stderr=log)

    def start_redis(self) -> subprocess.Popen[bytes]:
        (_, file) = SERVICES["redis"]["command"]
        own = ("--port", "0", "--unixsocket", f"{self.folder}/redis.sock")
        return subprocess.Popen(
            tied(str(redis_binary()), self._here("redis", file), *own), stdout=subprocess.DEVNULL
        )

    def healthy(self, service: str) -> bool:
        """Whether the check of a container succeeds."""
        check = SERVICES[service].get("healthcheck", {}).get("test")
        _, program, *arguments = check or [
            "CMD",
            *json.loads(DOCKERFILE.partition("\n    CMD ")[2].partition("\n")[0]),
        ]
        assert program == "python"
        command = [sys.executable, *(self._here(service, one) for one in arguments)]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    def metrics(self, service: str) -> str:
        """What Prometheus reads of a container."""
        (job, _) = yaml.safe_load(PROMETHEUS.read_text(encoding="utf-8"))["scrape_configs"]
        (found,) = job["dns_sd_configs"]
        assert service in found["names"]
        port = self._of(service)[str(found["port"])]
        with urlopen(f"http://127.0.0.1:{port}{job['metrics_path']}", timeout=60) as reply:
            return reply.read().decode()

    def _of(self, service: str) -> Mapping[str, str]:
        return self._workers if service == "worker" else self._ports

    def _here(self, service: str, text: str) -> str:
        ports = self._of(service)
        if (service, text) == ("envoy", "server"):
            return "localhost"
        return (
            re.sub(r"\b(8080|9001|9101|9201)\b", lambda found: ports[found[1]], text)
            .replace("0.0.0.0", "127.0.0.1")
            .replace("/run/secrets", str(self.secrets))
        )


def _host(postgres: EmbeddedPostgres) -> Mapping[str, str]:
    found = conninfo_to_dict(postgres.dsn("superuser"))
    return {"host": str(found["host"]), "port": str(found.get("port") or 5432)}


@pytest.mark.soak
def test_the_containers_of_compose_answer(server: EmbeddedPostgres, folder: Path) -> None:
    containers = Containers(folder, server)
    superuser = conninfo_to_dict(server.dsn("superuser"))
    script = (
        COMPOSE.with_name("postgres.sh")
        .read_text(encoding="utf-8")
        .replace("/run/secrets", str(containers.secrets))
    )
    subprocess.run(
        ["sh", "-c", script],
        env={
            "PATH": f"{package_root() / 'bin'}:/usr/bin:/bin",
            "POSTGRES_USER": str(superuser["user"]),
            "PGPASSWORD": str(superuser["password"]),
            "PGHOST": str(superuser["host"]),
        },
        check=True,
        capture_output=True,
    )  # fmt: skip
    assert "0001" in containers.run("migrate", *SERVICES["migrate"]["command"])
    assert containers.run("migrate", *SERVICES["migrate"]["command"]) == "The database is up to date."
    containers.run("server", "admin", "create-tenant", "default")
    user = containers.run("server", "admin", "create-user", "default", "Ann", "--role", "admin")
    key = containers.run("server", "admin", "create-key", "default", user)
    started = {
        "redis": containers.start_redis(),
        **{name: containers.start(name) for name in ("server", "worker", "envoy")},
    }
    try:
        for name in ("server", "worker", "envoy"):

            def healthy(name: str = name) -> bool:
                said = (containers.logs / name).read_text()
                assert started[name].poll() is None, said
                # A check takes 0.1 s of CPU time, which a start on a loaded machine needs itself.
                return (name == "envoy" or '"ready"' in said) and containers.healthy(name)

            eventually(healthy, (containers.logs / name).read_text, START_PATIENCE)
        with Responsa(f"http://127.0.0.1:{containers.port}", key) as client:
            client.create_document(text="The well in the yard is twelve feet deep.", source_key="well.md")

            def text() -> str:
                return client.answer("How deep is the well in the yard?").terminal_event.answer.text

            eventually(lambda: "twelve feet" in text(), "an answer from the document")
            parts = {part.part: part.health for part in client.get_system_status().parts}
        assert {parts["redis"], parts["jobs"]} == {Health.HEALTH_OK}, parts
        assert "responsa_calls_total" in containers.metrics("server")
        assert "responsa_turns_total" in containers.metrics("worker")
        smoke = {"RESPONSA_URL": f"http://127.0.0.1:{containers.port}", "RESPONSA_API_KEY": key}
        subprocess.run(
            ["sh", ROOT / "deploy" / "smoke.sh"],
            env=plain_environment(**smoke),
            check=True,
            capture_output=True,
        )
    finally:
        for process in reversed(started.values()):
            process.terminate()
        codes = {name: process.wait(60) for name, process in started.items()}
    said = "".join(path.read_text() for path in containers.logs.iterdir())
    assert set(codes.values()) == {0}, (codes, said)
    assert containers.secret("database_password") not in said
    with psycopg.connect(containers.database) as connection:
        kinds = connection.execute(
            "select rolname from pg_roles where rolname like 'responsa%' and (rolsuper or rolbypassrls)"
        ).fetchall()
        (scaled,) = [
            one["spec"]["triggers"][0]["metadata"]["query"]
            for one in manifests(RENDERED / "everything.yaml")
            if one["kind"] == "ScaledObject"
        ]
        assert connection.execute(scaled).fetchone() == (0,), "KEDA's query counts what waits"
    assert kinds == [("responsa_backup",)], "only what a backup reads through sees all rows"
    # The next test makes the roles with another owner.
    with psycopg.connect(server.dsn("superuser", database="postgres"), autocommit=True) as connection:
        connection.execute("drop database responsa with (force)")
        connection.execute("drop role responsa_app, responsa_backup, responsa_log, responsa_search, responsa")


def test_a_database_that_refuses_the_connection_is_reported_with_the_reason_and_without_the_password(
    outside: str, folder: Path
) -> None:
    done = subprocess.run(
        [*responsa(), "up"],
        env=plain_environment(
            DATABASE_URL=make_conninfo(outside, dbname="barn"),
            RESPONSA_HOME=str(folder / "home"),
            RESPONSA_TURNZ__LEASE_SECONDS="6",
        ),
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stdout + done.stderr
    assert 'database "barn" does not exist' in done.stderr
    assert "sesame" not in done.stdout + done.stderr
    # A misspelt variable is reported even if the start fails.
    assert "RESPONSA_TURNZ__LEASE_SECONDS" in done.stdout + done.stderr


def test_a_database_that_is_away_is_named_and_not_refused(outside: str, folder: Path) -> None:
    with door_to(outside) as door:
        url = door.url(outside)
        assert "closed the connection" in Reaching(url).attempt()
        assert Reaching(make_conninfo(url, sslmode="require")).attempt()
        door.starting = True
        assert Reaching(url).attempt() == "the database system is starting up"
        door.most = door.turned_away + 1
        assert Reaching(url).attempt() == "", (
            "it came between the attempt and the question whether it is there"
        )
    assert Reaching(door.url(outside)).attempt() == "Connection refused"
    assert "No such file" in Reaching(make_conninfo(outside, host=str(folder))).attempt()
    told = Reaching("postgresql://house:open@sesame.invalid/house").attempt()
    assert "Name or service not known" in told or "name resolution" in told
    assert "sesame" not in told, "a part of a password that is not escaped counts as the host"


WRONG: Final[Sequence[tuple[Mapping[str, str], str]]] = (
    ({"password": "open"}, 'authentication failed for user "house"'),
    ({"dbname": "barn"}, 'database "barn" does not exist'),
    ({"options": "-c role=responsa_nobody"}, 'role "responsa_nobody" does not exist'),
    ({"sslmode": "require"}, "server does not support SSL"),
    ({"sslmode": "verify-full"}, "certificate verify failed"),
)


def test_a_wrong_login_is_not_waited_for(outside: str, tmp_path: Path) -> None:
    key, own = certificate("localhost")
    (tmp_path / "own.pem").write_bytes(key + own)
    (tmp_path / "other.pem").write_bytes(certificate("localhost")[1])
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(tmp_path / "own.pem")
    for changed, reason in WRONG:
        with door_to(outside, closed=False, tls=tls if "certificate" in reason else None) as door:
            url = door.url(outside, sslrootcert=str(tmp_path / "other.pem"), **changed)
            with pytest.raises(Fixable, match=re.escape(reason)) as caught:
                Reaching(url).attempt()
        assert "correct DATABASE_URL" in str(caught.value)


def _health(port: int, path: str) -> tuple[int, Mapping[str, object]]:
    """The status and the content of a health check; 0 without an answer."""
    try:
        with urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as reply:
            return reply.status, json.load(reply)
    except HTTPError as error:
        return error.code, json.load(error)
    except OSError:
        return 0, {}


@contextmanager
def _started(
    folder: Path, *arguments: str, **variables: str
) -> Generator[tuple[subprocess.Popen[bytes], Path]]:
    """A process of `responsa`, and the file with what it says. It is ended at the end of the block."""
    log = folder / f"{arguments[0]}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            tied(sys.executable, "-m", "responsa_server", *arguments),
            env=plain_environment(
                RESPONSA_HOME=str(folder / arguments[0]), RESPONSA_DOCS="none", **variables
            ),
            stdout=output,
            stderr=output,
        )
    try:
        yield process, log
    finally:
        process.terminate()
        process.wait(60)


@contextmanager
def _heard(path: Path) -> Generator[socket.socket]:
    """A socket on which a test hears what systemd would hear."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(path))
        listener.settimeout(60)
        yield listener


def _waits(door: Door, process: subprocess.Popen[bytes], log: Path, port: int) -> None:
    """Wait until a process is turned away once more, and check what its health is meanwhile."""
    begun = door.turned_away
    eventually(
        lambda: door.turned_away > begun and _health(port, "/health/live")[0] == 200,
        log.read_text,
        START_PATIENCE,
    )
    assert process.poll() is None, log.read_text()
    assert _health(port, "/health/live") == (200, {"status": "LIVE"})
    lacking = {"status": "NOT_SERVING", "lacking": ["postgresql"]}
    known = {**lacking, "paused": False}
    assert _health(port, "/health/ready") == (503, known)
    assert _health(port, "/health") == (503, {**known, "parts": {"postgresql": "down"}})
    assert _health(port, "/v1/me") == (503, lacking)


def test_a_start_waits_for_a_database_that_is_away(outside: str, folder: Path) -> None:
    """`migrate` gets in at its fourth attempt or later: the first one makes up to six connections, each further one up
    to two. Then a worker waits, and `up`, which is ended while it waits."""
    with door_to(outside, most=10) as door:
        variables = {"DATABASE_URL": door.url(outside)}
        done = subprocess.run(
            [*responsa(), "migrate"],
            env=plain_environment(RESPONSA_HOME=str(folder / "home"), **variables),
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert (done.returncode, door.turned_away) == (0, 10), done.stderr
        assert "Waiting for the database, which is unavailable (server closed the connection" in done.stderr
        assert done.stderr.endswith("The database is available again.\n")
        assert "0001" in done.stdout

        door.most, port = None, free_port()
        address = ("--http-listen", f"127.0.0.1:{port}")
        with (
            _heard(folder / "systemd") as systemd,
            _started(
                folder,
                "serve",
                "--role",
                "worker",
                *address,
                **variables,
                NOTIFY_SOCKET=str(folder / "systemd"),
            ) as (worker, log),
        ):
            _waits(door, worker, log, port)
            told = systemd.recv(1000).decode()
            assert told.startswith("STATUS=Waiting for the database: server closed the connection")
            assert "\nEXTEND_TIMEOUT_USEC=" in told
            assert '"event": "waits_for_database"' in log.read_text()
            door.closed = False
            eventually(lambda: _health(port, "/health/ready")[0] == 200, log.read_text, START_PATIENCE)
            assert '"event": "database_reached"' in log.read_text()
        door.closed = True
        with _started(folder, "up", RESPONSA_PORT=str(port), **variables) as (up, log):
            _waits(door, up, log, port)
            assert "Waiting for the database, which is unavailable" in log.read_text()


@pytest.mark.soak
def test_a_whole_start_waits_for_a_minute(outside: str, folder: Path) -> None:
    with door_to(outside, starting=True) as door:
        variables = {"DATABASE_URL": door.url(outside)}
        port, workers = free_port(), free_port()
        address = ("--http-listen", f"127.0.0.1:{workers}")
        seeds.plant_model(LocalLayout.of(folder / "up").prepare())
        with (
            _started(folder, "up", RESPONSA_PORT=str(port), **variables) as (up, log),
            _started(folder, "serve", "--role", "worker", *address, **variables) as (worker, _),
        ):
            began = time.monotonic()
            while time.monotonic() < began + 60:
                _waits(door, up, log, port)
                _waits(door, worker, log, workers)
            door.closed = False
            for place in (port, workers):
                eventually(lambda place=place: _health(place, "/health/ready")[0] == 200, log.read_text, 120)
            back = time.monotonic() - began - 60
            print(f"waited for 60 s, with {door.turned_away} refused connections; ready after {back:.1f} s")


def test_doctor_examines_the_database_and_the_redis_that_the_settings_name(
    outside: str, folder: Path
) -> None:
    def findings(**variables: str) -> Mapping[str, str]:
        done = subprocess.run(
            [*responsa(), "doctor"],
            env=plain_environment(RESPONSA_HOME=str(folder / "home"), **variables),
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert "Traceback" not in done.stderr, done.stderr
        lines = [line.partition(": ") for line in done.stdout.splitlines()]
        return {name: detail for name, _, detail in lines}

    good = findings(DATABASE_URL=outside)
    assert "with pgvector" in good["ok    DATABASE_URL"]
    assert not {"ok    database", "ok    PostgreSQL"} & set(good)
    bad = findings(
        DATABASE_URL=make_conninfo(outside, dbname="barn"),
        DATABASE_LOG_URL=make_conninfo(outside, dbname="postgres"),
        REDIS_URL=f"unix://{folder / 'none'}",
    )
    assert 'database "barn" does not exist' in bad["WRONG DATABASE_URL"]
    assert "CREATE EXTENSION vector" in bad["WRONG DATABASE_LOG_URL"]
    assert "Redis cannot be reached" in bad["WRONG REDIS_URL"]
    assert "ok    Redis" not in bad


def test_an_old_postgresql_is_refused_before_the_first_migration(
    outside: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("responsa_server.stores.postgres.migrate.OLDEST_POSTGRES", 99)
    with pytest.raises(
        MigrationError, match=r"is in a PostgreSQL \d+, and Responsa needs PostgreSQL 99 or newer"
    ):
        asyncio.run(migrate(outside))
    with psycopg.connect(outside) as connection:
        assert connection.execute("select to_regnamespace('responsa')").fetchone() == (None,)


@pytest.mark.soak
def test_a_dump_goes_into_an_empty_database(outside: str, server: EmbeddedPostgres, folder: Path) -> None:
    """The login reads all rows through a role that a superuser makes. The restored tables keep their policies, and
    functions their owners."""

    def run(home: str, *arguments: str, code: int = 0) -> str:
        done = subprocess.run(
            [*responsa(), *arguments],
            env=plain_environment(DATABASE_URL=outside, RESPONSA_HOME=str(folder / home)),
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == code, done.stdout + done.stderr
        return done.stderr if code else done.stdout.strip()

    def secured() -> Sequence[tuple[object, ...]]:
        with psycopg.connect(outside) as connection:
            return connection.execute(
                """SELECT relname::text, relrowsecurity, relforcerowsecurity,
                        (SELECT count(*) FROM pg_policy WHERE polrelid = c.oid), (SELECT count(*) FROM pg_constraint WHERE conrelid = c.oid)
                    FROM pg_class c WHERE relnamespace = 'responsa'::regnamespace AND relkind IN ('r', 'p')
                UNION ALL SELECT proname || ' ' || proowner::regrole || ' ' || coalesce(proacl::text, ''), prosecdef, true, 0, 0
                    FROM pg_proc WHERE pronamespace = 'responsa'::regnamespace
                ORDER BY 1"""
            ).fetchall()

    LocalLayout.of(folder / "old").prepare()
    run("old", "migrate")
    run("old", "admin", "create-tenant", "house")
    user = run("old", "admin", "create-user", "house", "Ann")
    assert "GRANT responsa_backup TO" in run("old", "backup", str(folder / "b"), code=1)
    assert not list((folder / "b").iterdir())
    superuser = server.dsn("superuser", database="postgres")
    with psycopg.connect(superuser, autocommit=True) as connection:
        connection.execute("CREATE ROLE responsa_backup NOLOGIN BYPASSRLS")
        connection.execute("GRANT responsa_backup TO house")
    with psycopg.connect(outside) as connection:
        # A week of the turn log that no migration makes.
        connection.execute("SELECT responsa.make_turn_event_partitions(interval '100 days')")
    archive = run("old", "backup", str(folder / "b"))
    before = secured()
    assert "has tables of Responsa; name an empty database" in run("new", "restore", archive, code=1)
    with psycopg.connect(outside) as connection:
        connection.execute("DROP SCHEMA responsa, procrastinate CASCADE")
    run("new", "restore", archive)
    assert secured() == before
    assert run("new", "admin", "create-key", "house", user).startswith("rsp_")
    with psycopg.connect(server.dsn("superuser", database="house"), autocommit=True) as connection:
        connection.execute("DROP OWNED BY responsa_backup")
        connection.execute("DROP ROLE responsa_backup")
