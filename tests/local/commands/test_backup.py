"""What `responsa restore` refuses before it writes anything."""

from __future__ import annotations

import json
import platform
import secrets
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import typer

from responsa_local.commands.agents import check
from responsa_local.commands.archive import CHUNK, BackupHeader, writing
from responsa_local.commands.backup import backup as back_up
from responsa_local.commands.backup import restore
from responsa_local.commands.failures import reporting
from responsa_local.embedded.errors import EmbeddedError
from responsa_local.embedded.files import FolderLock
from responsa_local.embedded.postgres import MAJOR
from responsa_server.stores.postgres.migrate import load

HEADER = BackupHeader("base", "1.0", "2026-11-26T12:00:00+00:00", [], int(MAJOR), platform.machine(), [])
KEY = secrets.token_hex(32)
FRAME = (64 << 10) + 16
"""A sealed chunk of age."""
LEDGER = [(one.name, one.sha256.hex()) for one in load()]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RESPONSA_HOME", str(tmp_path / "home"))
    (tmp_path / "key").write_text(KEY)
    return tmp_path / "home"


@pytest.fixture
def backup(tmp_path: Path) -> Callable[..., Path]:
    """Writes a backup with a file that fills three chunks."""

    def write(header: BackupHeader = HEADER, *, sealed: bool = True) -> Path:
        path = tmp_path / "one.backup"
        with path.open("wb") as file, writing(file, header, KEY.encode() if sealed else None) as writer:
            writer.folder("postgres/global")
            writer.bytes("postgres/global/pg_control", secrets.token_bytes(3 * CHUNK))
        return path

    return write


@pytest.fixture
def refused(home: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Tries to restore a backup, and returns what the command says."""

    def attempt(archive: Path, key: str | None = "key") -> str:
        before = [*home.iterdir()] if home.exists() else None
        with pytest.raises(typer.Exit) as caught:
            restore(str(archive), None if key is None else home.with_name(key))
        assert caught.value.exit_code == 1
        assert ([*home.iterdir()] if home.exists() else None) == before
        return capsys.readouterr().err

    return attempt


def cut(data: bytes) -> bytes:
    return data[:-1]


def body(data: bytes) -> int:
    """Where the chunks of age begin, behind its header and a nonce of 16 bytes."""
    return data.index(b"\n", data.index(b"\n--- ") + 1) + 17


def without_the_last_chunk(data: bytes) -> bytes:
    start = body(data)
    return data[: start + (len(data) - start) // FRAME * FRAME]


def swapped(data: bytes) -> bytes:
    start = body(data)
    first, second = data[start : start + FRAME], data[start + FRAME : start + 2 * FRAME]
    return data[:start] + second + first + data[start + 2 * FRAME :]


def flipped(data: bytes) -> bytes:
    at = len(data) // 2
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def redated(data: bytes) -> bytes:
    return data.replace(b"12:00:00", b"13:00:00", 1)


def longer(data: bytes) -> bytes:
    return data + b"x"


def no_backup(data: bytes) -> bytes:
    return data[1:]


PLAIN = (cut, flipped, redated, longer, no_backup)
SEALED = (cut, without_the_last_chunk, swapped, flipped, longer, no_backup)


@pytest.mark.parametrize(
    ("damage", "sealed"),
    [*((damage, False) for damage in PLAIN), *((damage, True) for damage in SEALED)],
    ids=lambda value: value.__name__ if callable(value) else ("plain", "sealed")[value],
)
def test_a_damaged_backup(
    backup: Callable[..., Path], refused: Callable[..., str], damage: Callable[[bytes], bytes], sealed: bool
) -> None:
    archive = backup(sealed=sealed)
    archive.write_bytes(damage(archive.read_bytes()))
    said = refused(archive, "key" if sealed else None)
    assert "The backup cannot be used" in said
    assert "use another backup" in said


def test_the_content_of_another_backup_with_the_same_key(
    backup: Callable[..., Path], refused: Callable[..., str]
) -> None:
    first_line, _, _ = backup().read_bytes().partition(b"\n")
    archive = backup()
    _, _, content = archive.read_bytes().partition(b"\n")
    archive.write_bytes(first_line + b"\n" + content)
    assert "The backup cannot be used" in refused(archive)


def test_an_encrypted_backup_shows_nothing(backup: Callable[..., Path]) -> None:
    content = backup(replace(HEADER, release="7.7.7")).read_bytes()
    assert b"7.7.7" not in content
    assert b"age1" not in content


def test_a_full_disk() -> None:
    """The error of the file arrives, and not what age makes of it."""
    with (
        pytest.raises(OSError, match="No space left"),
        Path("/dev/full").open("wb", buffering=0) as full,
        writing(full, HEADER, KEY.encode()) as writer,
    ):
        writer.bytes("postgres/x", secrets.token_bytes(3 * CHUNK))


def test_a_wrong_key(backup: Callable[..., Path], refused: Callable[..., str], home: Path) -> None:
    home.with_name("other").write_text(secrets.token_hex(32))
    home.with_name("short").write_text("abc")
    archive = backup()
    assert "not the one with which the backup was made" in refused(archive, "other")
    assert "is too short; name a file with at least 32" in refused(archive, "short")
    assert "cannot be read" in refused(archive, "missing")
    assert "The backup is encrypted; name the key file" in refused(archive, None)
    assert "is not encrypted; leave out --key-file" in refused(backup(sealed=False))


def test_a_file_that_cannot_be_read(refused: Callable[..., str], tmp_path: Path) -> None:
    assert "cannot be read (Is a directory); name a file" in refused(tmp_path)
    assert "cannot be read (No such file or directory); name a file" in refused(tmp_path / "missing")


def test_a_newer_backup(backup: Callable[..., Path], refused: Callable[..., str]) -> None:
    archive = backup(replace(HEADER, release="9.9", migrations=[*LEDGER, ("9999_pre_later", "00" * 32)]))
    assert (
        "Responsa 9.9, whose migration 9999_pre_later this version does not know; restore it with"
        in refused(archive)
    )
    archive = backup(replace(HEADER, release="9.9"), sealed=False)
    line, _, rest = archive.read_bytes().partition(b"\n")
    archive.write_bytes(json.dumps({**json.loads(line), "responsa_backup": 2}).encode() + b"\n" + rest)
    assert "Responsa 9.9, whose format 2 this version does not know; restore it with" in refused(
        archive, None
    )


def test_a_backup_with_other_content_of_a_migration(
    backup: Callable[..., Path], refused: Callable[..., str]
) -> None:
    changed = [*LEDGER[:-1], (LEDGER[-1][0], "00" * 32)]
    said = refused(backup(replace(HEADER, migrations=changed)))
    assert f"{LEDGER[-1][0]} was applied with the SHA-256 000000000000…" in said
    assert "GET /v1/documents/ID:original" in said


def test_the_files_of_another_kind_of_machine(
    backup: Callable[..., Path], refused: Callable[..., str]
) -> None:
    assert "make a backup with --dump" in refused(backup(replace(HEADER, machine="pdp11")))
    assert "make a backup with --dump" in refused(backup(replace(HEADER, postgres=17)))


def test_a_place_that_has_something(
    backup: Callable[..., Path], refused: Callable[..., str], home: Path
) -> None:
    home.mkdir()
    (home / "mine").touch()
    assert "is not empty; set RESPONSA_HOME to a folder that is empty" in refused(backup())


def test_a_restore_that_fails_leaves_the_place_empty(
    backup: Callable[..., Path], refused: Callable[..., str], home: Path
) -> None:
    """The files in this backup are no cluster."""
    home.mkdir()
    assert "PG_VERSION is missing" in refused(backup())


@pytest.fixture
def interrupted(home: Path) -> Callable[..., None]:
    """Makes a home that a restore has left that was killed. files: those that it has written, by their paths."""

    def make(mark: str | None = None, **files: str) -> None:
        home.mkdir()
        (home / "restoring").write_text(json.dumps([*files]) if mark is None else mark)
        for name, text in {**files, ".responsa-home": "", "state.json": "{", "logs/postgres.log": ""}.items():
            (home / name).parent.mkdir(exist_ok=True)
            (home / name).write_text(text)
        # In place of a state that is cut, which Responsa replaces as a whole.
        (home / "state.json").rename(home / f".state.json.{'0' * 16}.new")

    return make


def test_a_restore_that_was_killed_starts_over(
    backup: Callable[..., Path], refused: Callable[..., str], home: Path, interrupted: Callable[..., None]
) -> None:
    """Its settings may not be complete without a secret, so they go before they are read."""
    interrupted(**{"responsa.toml": "nonsense = 1", "agents/mine": "notes"})
    archive = backup()
    with pytest.raises(typer.Exit):
        restore(str(archive), home.with_name("other"))
    assert [*home.iterdir()] == [home / "restoring"]
    with pytest.raises(typer.Exit):
        restore(str(archive), home.with_name("key"))  # its files are no cluster
    assert [*home.iterdir()] == []


@pytest.mark.parametrize("name", ["notes.txt", "agents/mine", "responsa.toml", "data/x", ".notes.txt.0.new"])
def test_what_is_not_of_the_killed_restore_stays(
    backup: Callable[..., Path],
    refused: Callable[..., str],
    home: Path,
    interrupted: Callable[..., None],
    name: str,
) -> None:
    interrupted("[" if name == "responsa.toml" else None, **{"agents/other": "notes"})
    if name == "responsa.toml":
        (home / "agents" / "other").unlink()
    (home / name).parent.mkdir(exist_ok=True)
    (home / name).write_text("mine")
    assert f"{home / name} is not part of it; move that file away" in refused(backup())
    assert (home / name).read_text() == "mine"


def test_two_restores_at_once(
    backup: Callable[..., Path], refused: Callable[..., str], home: Path, interrupted: Callable[..., None]
) -> None:
    interrupted(**{"agents/mine": "notes"})
    lock = FolderLock(home / "lock", "Responsa")
    lock.acquire()
    try:
        assert "already runs on the data folder" in refused(backup())
    finally:
        lock.release()
    assert (home / "agents" / "mine").read_text() == "notes"


@pytest.mark.parametrize(
    ("place", "endpoint"),
    [
        ("s3://user:ZZTOP2@bucket/prefix/name", ""),
        ("s3://ZZTOP2@bucket/name", ""),
        ("s3://user:ZZ/TOP2@bucket/name", ""),
        ("https://user:ZZTOP2@store.example.org/name", ""),
        ("ftp://ZZTOP2@store.example.org/name", ""),
        ("s3://bucket/name", "http://user:ZZTOP2@127.0.0.1:9"),
        ("s3://bucket/name", "https://ZZTOP2@127.0.0.1:9"),
        ("s3://bucket/name", "http://user:pw ZZTOP2@127.0.0.1:9"),
        ("s3://bucket/name", "http://user:pw/ZZTOP2@127.0.0.1:9"),
        ("s3://bucket/name", "https://user:ZZTOP2@[::1:9"),
        ("s3://bucket/name", "user:ZZTOP2@127.0.0.1:9"),
        ("s3://bucket/name", "https://127.0.0.1:9/?password=ZZTOP2"),
    ],
)
def test_no_message_shows_the_password_of_an_address(
    place: str, endpoint: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    for command in (back_up, restore):
        with pytest.raises(typer.Exit) as caught:
            command(place)
        assert caught.value.exit_code == 1
    output = "".join(capfd.readouterr())
    assert "TOP2" not in output
    assert output.count("responsa: ") == 2
    assert "AWS_ENDPOINT_URL cannot be used" in output or not endpoint


def test_what_a_library_says_of_an_address_is_shown_without_its_password(
    capsys: pytest.CaptureFixture[str],
) -> None:
    said = (
        "GET http://user:pw@ZZ/TOP2@store:9/kept refused",
        "https://ZZTOP2@store refused",
        "see https://example.org/@name",
    )
    for sentence in said:
        with pytest.raises(typer.Exit), reporting():
            raise EmbeddedError(sentence, "try again")
    output = capsys.readouterr().err
    assert "TOP2" not in output
    assert "http://***@store:9/kept" in output
    assert "https://example.org/@name" in output


def test_texts_of_an_archive_cannot_control_the_terminal(
    backup: Callable[..., Path], refused: Callable[..., str]
) -> None:
    for character in ("\x1b", "\u202e", "\u2028"):
        assert "its first line is damaged" in refused(backup(replace(HEADER, left_out=[f"a{character}b"])))


def test_names_of_restored_files_are_escaped_when_they_are_printed(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = home / "agents" / "\x1b]0;x\u202e"
    folder.mkdir(parents=True)
    (folder / "agent.toml").write_text("")
    with pytest.raises(typer.Exit):
        check(str(folder), json=False)
    output = "".join(capsys.readouterr())
    assert folder.name.replace("\x1b", "\ufffd").replace("\u202e", "\ufffd") in output
    assert not {"\x1b", "\u202e"} & set(output)
