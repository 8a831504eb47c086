"""The images that deploy/compose runs, made without a registry of images: Responsa's own from deploy/docker/Dockerfile, on a Debian
that mmdebstrap makes of packages, and stand-ins for those of PostgreSQL and Valkey with the programs that `responsa up` starts.

    python -m tests.real.images

makes them all. They stay in podman's store, named localhost/responsa-….
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from responsa_local.embedded.postgres import package_root
from responsa_local.embedded.redis import redis_binary
from tests.instance import ROOT

PROGRAMS: Final = {
    "buildah": "buildah",
    "podman": "podman",
    "mmdebstrap": "mmdebstrap",
    "runc": "runc",
    "iptables": "iptables",
    "/usr/lib/podman/aardvark-dns": "aardvark-dns",
    "/usr/lib/podman/netavark": "netavark",
}
"""What must be installed, and the packages of Debian that have it."""
DEBIAN: Final = "localhost/responsa-debian"
NODE: Final = "localhost/responsa-node"
RESPONSA: Final = "localhost/responsa"
POSTGRES: Final = "localhost/responsa-postgres"
REDIS: Final = "localhost/responsa-redis"
BUILD_SECONDS: Final = 1800
CERTIFICATES: Final = "/etc/ssl/certs"
READS: Final = (CERTIFICATES, "/etc/pip.conf")
"""What a build reads of this machine if it is there: its certificates, and the settings of pip."""
ENTRYPOINT: Final = """#!/bin/sh
# As in the image of PostgreSQL: it makes the cluster, runs the scripts on a temporary server that does not listen, and starts the command.
set -eu
cluster=/var/lib/postgresql/18
if [ ! -e "$cluster/PG_VERSION" ]; then
    install -d -o postgres -g postgres -m 0700 "$cluster"
    as="setpriv --reuid=postgres --regid=postgres --clear-groups"
    $as initdb --pgdata "$cluster" --username postgres --pwfile "$POSTGRES_PASSWORD_FILE" --auth-host scram-sha-256 --auth-local trust
    echo 'host all all all scram-sha-256' >> "$cluster/pg_hba.conf"
    $as pg_ctl --pgdata "$cluster" --options "-c listen_addresses=''" --wait start
    for script in /docker-entrypoint-initdb.d/*.sh; do PGHOST=/tmp sh "$script"; done
    $as pg_ctl --pgdata "$cluster" --mode fast --wait stop
fi
exec setpriv --reuid=postgres --regid=postgres --clear-groups "$@" -D "$cluster" -c listen_addresses='*'
"""


def everything() -> None:
    """Make all images. The layers of Responsa's image whose inputs have not changed are taken from the last run."""
    for program, package in PROGRAMS.items():
        assert shutil.which(program), f"{program} is not installed (Debian's package {package})"
    debian()
    node()
    responsa()
    postgres()
    redis()


def debian() -> None:
    """Debian 12 with Python 3.11, in place of `python:3.11-slim-bookworm`."""
    if not _there(DEBIAN):
        with tempfile.TemporaryDirectory() as folder:
            tar = f"{folder}/debian.tar"
            packages = "--include=python3,python3-venv,ca-certificates"
            _run("mmdebstrap", "--variant=minbase", packages, "bookworm", tar)
            _run("podman", "import", tar, DEBIAN)


def node() -> None:
    """The same with this machine's Node.js and npm, in place of `node:22-bookworm-slim`."""
    if _there(NODE):
        return
    program, npm = shutil.which("node"), shutil.which("npm")
    assert program, "node is not installed: Node.js 20 (nodejs.org)"
    assert npm, "npm is not installed: it comes with Node.js"
    modules = Path(npm).resolve().parents[1]
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(Path(program).resolve(), f"{folder}/node")
        shutil.copytree(modules, f"{folder}/npm", symlinks=True)
        lines = [
            f"FROM {DEBIAN}",
            "COPY node /usr/bin/node",
            "COPY npm /usr/lib/node_modules/npm",
            "RUN ln -s ../lib/node_modules/npm/bin/npm-cli.js /usr/bin/npm",
            f"ENV NODE_EXTRA_CA_CERTS={CERTIFICATES}/ca-certificates.crt",
        ]
        _build(NODE, folder, lines)


def responsa() -> None:
    """Responsa's own image, of this checkout."""
    _run(
        *("buildah", "build", "--isolation=chroot", "--network=host", "--layers"),
        *(f"--volume={path}:{path}:ro" for path in READS if Path(path).exists()),
        f"--build-arg=NODE_IMAGE={NODE}",
        f"--build-arg=PYTHON_IMAGE={DEBIAN}",
        f"--tag={RESPONSA}",
        "--format=docker",  # the other format has no health checks
        "--file=deploy/docker/Dockerfile",
        ".",
    )


def postgres() -> None:
    """PostgreSQL 18 with pgvector, in place of `pgvector/pgvector`."""
    if _there(POSTGRES):
        return
    with tempfile.TemporaryDirectory() as folder:
        package = package_root()
        shutil.copytree(package, f"{folder}/opt/{package.name}", symlinks=True)
        libraries = f"{package.name}.libs"
        shutil.copytree(package.with_name(libraries), f"{folder}/opt/{libraries}", symlinks=True)
        Path(folder, "entrypoint").write_text(ENTRYPOINT)
        lines = [
            f"FROM {DEBIAN}",
            "RUN useradd --system --create-home postgres",
            "COPY opt /opt",
            "COPY --chmod=0755 entrypoint /entrypoint",
            f"ENV PATH=/opt/{package.name}/pginstall18/bin:/usr/bin:/usr/sbin:/bin",
            "ENV LANG=C.UTF-8",
            "VOLUME /var/lib/postgresql",
            'ENTRYPOINT ["/entrypoint"]',
        ]
        _build(POSTGRES, folder, lines)


def redis() -> None:
    """Valkey, in place of `valkey/valkey`. It lacks `valkey-cli`."""
    if _there(REDIS):
        return
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(redis_binary(), f"{folder}/valkey-server")
        _build(REDIS, folder, [f"FROM {DEBIAN}", "COPY valkey-server /usr/bin/valkey-server"])


def _there(name: str) -> bool:
    return subprocess.run(["podman", "image", "exists", name], check=False).returncode == 0


def _build(name: str, folder: str, lines: list[str]) -> None:
    Path(folder, "Dockerfile").write_text("\n".join(lines) + "\n")
    _run("buildah", "build", "--isolation=chroot", f"--tag={name}", folder)


def _run(*command: str) -> None:
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=BUILD_SECONDS, check=False
    )
    assert done.returncode == 0, f"{' '.join(command)}: {done.stdout[-3000:]}{done.stderr[-3000:]}"


if __name__ == "__main__":
    everything()
