"""The command line with running instances: the instance that a command uses, and the error messages."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.callers import Credential, Tenant
from tests.forked import responsa
from tests.instance import Instance, free_port, plain_environment


def test_a_url_and_a_key_are_enough(instance: Instance, tenant: Tenant, tmp_path: Path) -> None:
    key = tenant.key(Credential.USER)
    kept = tmp_path / "key"
    kept.write_text(key + "\n")
    for given in ({"RESPONSA_API_KEY": key}, {"RESPONSA_API_KEY_FILE": str(kept)}):
        done = subprocess.run(
            [*responsa(), "search", "ferry"],
            env=plain_environment(RESPONSA_HOME=str(tmp_path / "none"), RESPONSA_URL=instance.url, **given),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done


def said(*arguments: str, **environment: str) -> str:
    """The error of a command that must fail: one or two sentences, and no stack trace."""

    done = subprocess.run(
        [*responsa(), *arguments],
        env=plain_environment(**environment),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode in (1, 2), done
    assert "Traceback" not in done.stdout + done.stderr
    text = done.stderr.strip()
    assert 0 < len(text.splitlines()) <= 3, text
    return text


def test_a_home_that_is_none(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "cat.jpg").write_bytes(b"\xff\xd8")
    text = said("up", RESPONSA_HOME=str(photos), RESPONSA_PORT=str(free_port()))
    assert str(photos) in text
    assert "RESPONSA_HOME" in text
    text = said("purge", "--yes", RESPONSA_HOME=str(photos))
    assert (photos / "cat.jpg").is_file()
    assert str(photos) in text


def test_a_wrong_setting(tmp_path: Path) -> None:
    assert "max_running" in said("up", RESPONSA_HOME=str(tmp_path / "home"), RESPONSA_TURNS__MAX_RUNNING="0")


def test_serving_without_a_database(tmp_path: Path) -> None:
    text = said("serve", RESPONSA_HOME=str(tmp_path / "home"))
    assert "responsa up" in text
