"""A bucket of rclone's server of S3 is connected, read, and read again after its files have changed."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Final

import httpx2
import pytest

from responsa_client import Responsa
from tests.callers import Credential, Tenant
from tests.instance import START_PATIENCE, Instance, eventually, free_port
from tests.real import programs
from tests.tied import tied

pytestmark = pytest.mark.soak
KEY, SECRET = "AKEY", "a secret of rclone"
NAME: Final = "über Öfen + Fähren.md"


def test_a_bucket_of_rclone_is_read(instance: Instance, tenant: Tenant, tmp_path: Path) -> None:
    bucket = tmp_path / "handbook"
    (bucket / "trips").mkdir(parents=True)
    (bucket / "trips" / "trains.md").write_text("# Trains\n\nBook trains in second class.\n")
    (bucket / NAME).write_text("# Ferries\n\nThe ferry leaves at ten.\n")
    url = f"http://127.0.0.1:{free_port()}"
    serve = ("serve", "s3", "--auth-key", f"{KEY},{SECRET}", "--addr", url.removeprefix("http://"))
    command = tied(str(programs.rclone()), *serve, "--dir-cache-time", "0s", str(tmp_path))
    process = subprocess.Popen(command)

    def answers() -> bool:
        try:
            return httpx2.get(url).status_code < 500
        except httpx2.TransportError:
            return False

    login = ("--kind", "s3", "--user", KEY, "--password")
    add = ("sources", "add", f"{url}/handbook", "--collection", "handbook", "--id", "handbook", *login)
    key = tenant.key(Credential.ADMIN)
    try:
        eventually(answers, "rclone", START_PATIENCE)
        refused = instance.run(*add, RESPONSA_API_KEY=key, stdin="wrong\n", check=False)
        assert (refused.returncode, "refuses the user or the password" in refused.stderr) == (2, True)
        done = instance.run(*add, RESPONSA_API_KEY=key, stdin=f"{SECRET}\n")
        assert "2 created" in done.stdout
        (bucket / "trips" / "trains.md").unlink()
        (bucket / "gate.md").write_text("# The gate\n\nThe gate closes at nine.\n")
        again = instance.run("sources", "run", "sources/handbook", RESPONSA_API_KEY=key)
        assert "1 created, 1 deleted, 1 unchanged" in again.stdout
        with Responsa(instance.url, key) as client:
            titles = {document.title for document in client.documents("collections/handbook")}
        assert titles == {"Ferries", "The gate"}
    finally:
        process.kill()
        process.wait()
