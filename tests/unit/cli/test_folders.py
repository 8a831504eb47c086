"""Folders of the same name, of which each would delete the other's documents."""

from __future__ import annotations

from pathlib import Path

import pytest

from responsa_server.cli.folders import Folder, LoadedFolders, find_folders, folders_of
from responsa_server.cli.output import CommandFailed

SERVER = "http://127.0.0.1:8080"


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Folder, Folder]:
    """Two folders of the name `guide`."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for parent in ("a", "b"):
        (tmp_path / parent / "guide").mkdir(parents=True)
    return Folder(tmp_path / "a" / "guide", "guide"), Folder(tmp_path / "b" / "guide", "guide")


def test_another_folder_of_the_same_name_is_refused(folders: tuple[Folder, Folder]) -> None:
    first, second = folders
    loaded = LoadedFolders(SERVER, "notes")
    loaded.check(first)
    loaded.add(first, alone=False)
    loaded.check(first)
    with pytest.raises(CommandFailed, match="was loaded under the same name, 'guide'") as refused:
        LoadedFolders(SERVER, "collections/notes").check(second)
    assert str(first.path) in refused.value.sentence
    assert "--root" in refused.value.remedy
    # Another collection, server or root has other documents.
    LoadedFolders(SERVER, "letters").check(second)
    LoadedFolders("http://elsewhere:8080", "notes").check(second)
    loaded.check(Folder(second.path, "guide-b"))


def test_both_were_loaded_without_sync(folders: tuple[Folder, Folder]) -> None:
    loaded = LoadedFolders(SERVER, "notes")
    for folder in (*folders, *folders):
        loaded.add(folder, alone=False)
    for folder in folders:
        with pytest.raises(CommandFailed, match="was loaded under"):
            loaded.check(folder)


def test_a_folder_that_was_moved_takes_its_place(folders: tuple[Folder, Folder]) -> None:
    first, second = folders
    loaded = LoadedFolders(SERVER, "notes")
    loaded.add(first, alone=False)
    first.path.rmdir()
    loaded.check(second)
    loaded.add(second, alone=False)
    first.path.mkdir()
    loaded.check(second)


def test_a_folder_that_takes_the_place_by_its_root(folders: tuple[Folder, Folder]) -> None:
    first, second = folders
    loaded = LoadedFolders(SERVER, "notes")
    loaded.add(first, alone=False)
    loaded.add(second, alone=True)
    loaded.check(second)
    with pytest.raises(CommandFailed):
        loaded.check(first)


def test_a_broken_file_says_nothing(folders: tuple[Folder, Folder], tmp_path: Path) -> None:
    first, second = folders
    loaded = LoadedFolders(SERVER, "notes")
    loaded.add(first, alone=False)
    (file,) = (tmp_path / "state" / "responsa" / "folders").iterdir()
    for text in ("{", "{}", "[1]", '["\\ud800"]'):
        file.write_text(text)
        loaded.check(second)


def test_two_folders_with_one_root_are_not_followed_together(folders: tuple[Folder, Folder]) -> None:
    paths = [str(folder.path) for folder in folders]
    assert folders_of(paths, "") == list(folders)
    with pytest.raises(CommandFailed, match="would both begin with 'guide'"):
        find_folders(paths, "")
    assert find_folders([paths[0], paths[0]], "") == (folders[0],)
    assert find_folders(paths[:1], "guide-b") == (Folder(folders[0].path, "guide-b"),)
    with pytest.raises(CommandFailed, match="cannot be used with /"):
        find_folders(["/"], "")
