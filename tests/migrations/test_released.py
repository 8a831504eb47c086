"""Migrations and the contract are held to the newest release, and may change in place before the first one."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tools.baseline import (
    CONTRACT,
    MERGED,
    ROOT,
    contract,
    hashes,
    published,
    releases,
    tags_of_commit,
    write_merged,
)


def changed(root: Path = ROOT) -> set[str]:
    """The published migrations that are gone or have other content, as lines of the list."""
    return set(published(MERGED, root).decode().splitlines()) - set(hashes(root))


def unrecorded(root: Path = ROOT) -> list[str]:
    """The files in which a release does not have its own contract or migrations, so that later ones would be free to change them."""
    recorded = {CONTRACT: (root / CONTRACT).read_bytes(), MERGED: (root / MERGED).read_bytes()}
    actual = {CONTRACT: contract(root), MERGED: "".join(f"{line}\n" for line in hashes(root)).encode()}
    return [path for path, content in actual.items() if tags_of_commit(root) and recorded[path] != content]


def git(root: Path, *arguments: str) -> None:
    person = ("-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *person, *arguments], cwd=root, check=True, capture_output=True)


def release(root: Path, tag: str) -> None:
    git(root, "add", ".")
    git(root, "commit", "--allow-empty", "--message", tag)
    git(root, "tag", tag)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository with the migrations of this one and no release."""
    shutil.copytree(ROOT / "migrations", tmp_path / "migrations")
    for path in (MERGED, CONTRACT, "generated/descriptor.binpb"):
        (tmp_path / path).parent.mkdir(parents=True)
        shutil.copy(ROOT / path, tmp_path / path)
    git(tmp_path, "init")
    release(tmp_path, "draft")
    return tmp_path


def write(root: Path, name: str, text: str) -> None:
    (root / "migrations" / f"{name}.sql").write_text(text, encoding="utf-8")


def test_what_is_published_stays() -> None:
    assert changed() == set()


def test_a_tagged_commit_records_what_it_releases() -> None:
    assert unrecorded() == []


def test_a_release_that_does_not_is_caught(checkout: Path) -> None:
    write_merged(checkout)
    (checkout / CONTRACT).write_bytes(contract(checkout))
    release(checkout, "v0.1.0")
    assert unrecorded(checkout) == []
    write(checkout, "0001_pre_identity", "SELECT 1;")
    (checkout / CONTRACT).write_bytes(b"")
    release(checkout, "draft-2")
    assert unrecorded(checkout) == []
    release(checkout, "v0.2.0")
    assert unrecorded(checkout) == [CONTRACT, MERGED]


def test_before_the_first_release_the_list_is_rewritten(checkout: Path) -> None:
    write(checkout, "0001_pre_identity", "SELECT 1;")
    assert releases(checkout) == []
    assert len(changed(checkout)) == 1
    write_merged(checkout)
    assert changed(checkout) == set()
    assert (checkout / MERGED).read_text().splitlines() == hashes(checkout)


def test_a_released_migration_and_the_contract_are_held(checkout: Path) -> None:
    release(checkout, "v0.1.0")
    first = (checkout / MERGED).read_text()
    number = len(hashes(checkout)) + 1
    write(checkout, f"{number:04}_pre_more", "SELECT 1;")
    write_merged(checkout)
    assert changed(checkout) == set()
    assert (checkout / MERGED).read_text().startswith(first)
    release(checkout, "v0.10.0")
    release(checkout, "v0.10.0-rc.1")
    assert releases(checkout) == ["v0.1.0", "v0.10.0"]
    contract = (checkout / CONTRACT).read_bytes()
    (checkout / CONTRACT).write_bytes(b"")
    assert published(CONTRACT, checkout) == contract
    for name in ("0001_pre_identity", f"{number:04}_pre_more"):
        write(checkout, name, "SELECT 2;")
    write_merged(checkout)
    assert {line.split()[0] for line in changed(checkout)} == {"0001_pre_identity", f"{number:04}_pre_more"}


def test_a_checkout_that_may_lack_tags_is_refused(
    checkout: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    copy = tmp_path_factory.mktemp("copy")
    release(checkout, "v0.1.0")
    git(copy, "clone", "--depth=1", checkout.as_uri(), ".")
    with pytest.raises(RuntimeError, match="git fetch --unshallow --tags"):
        releases(copy)
