"""The disk of a server has no room: large uploads are refused as what they are, and the status and the doctor say so."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from responsa_client import Responsa, ResponsaError
from responsa_server.machine import NO_ROOM, free_space
from tests.disks import small_disk
from tests.instance import Instance, eventually, instance_in

LARGE = b"# Rivers\n\n" + b"The Elbe is 1094 kilometres long.\n" * 40_000


@pytest.fixture
def cramped() -> Iterator[Instance]:
    """An instance whose data folder has a small disk."""
    folder = Path(tempfile.mkdtemp(prefix="rsd-"))
    with small_disk(folder, "400m"):
        (folder / "tmp").mkdir()
        with instance_in(folder, RESPONSA_DOCS="none", TMPDIR=str(folder / "tmp")) as one:
            yield one
    folder.rmdir()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk")
def test_a_full_disk_is_named_to_the_caller_and_in_the_status(cramped: Instance) -> None:
    filler = cramped.home.parent / "filler"
    with filler.open("wb") as file, Responsa(cramped.url, cramped.key) as client:
        os.posix_fallocate(file.fileno(), 0, free_space(cramped.home))
        assert free_space(cramped.home) < NO_ROOM
        with pytest.raises(ResponsaError) as raised:
            client.upload(LARGE, source_key="large.md")
        assert (raised.value.reason, raised.value.metadata) == ("STORAGE_FULL", {"part": "disk"})
        # A form waits on the disk as a whole, before its parameters are known.
        answer = httpx2.post(
            f"{cramped.url}/v1/uploads",
            files={"file": ("form.md", LARGE)},
            headers={"authorization": f"Bearer {cramped.key}"},
        )
        assert (answer.status_code, answer.json()["details"][0]["reason"]) == (429, "STORAGE_FULL")
        full = f"full: the disk of {cramped.home}; free at least 200 MB there"
        # A server looks at its disks once a second.
        eventually(lambda: full in [part.detail for part in client.get_system_status().parts], full)
        doctor = cramped.run("doctor", check=False)
        assert doctor.returncode == 1
        assert f"WRONG disk: The disk that holds {cramped.home}" in doctor.stdout
        os.truncate(filler, 0)
        client.upload(LARGE, source_key="large.md")
