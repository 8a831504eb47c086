"""The files that `ingest` finds in a folder, each with its rule."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from responsa_server.cli import sources
from responsa_server.cli.output import CommandFailed
from responsa_server.cli.sources import EntryProblem, LocalDocument, Skipped, SkipRule, entries, find, keys

SUFFIXES = (".md", ".json", ".jsonl")


def test_every_file_has_a_rule_or_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "MAX_DOCUMENT_BYTES", 100)
    folder = tmp_path / "guide"
    (folder / ".git").mkdir(parents=True)
    for name, text in {
        "a.md": "x",
        "big.md": "x" * 101,
        "empty.md": "",
        ".hidden.md": "x",
        "picture.png": "x",
        "~$a.md": "x",
        ".~lock.a.md#": "x",
        ".DS_Store": "x",
        "Thumbs.db": "x",
        "gebu\u0308hren.md": "x",
        "empty.jsonl": "",
        "broken.zip": "x",
        "data.jsonl": '{"city": "Bonn"}',
        "docs.jsonl": "\n".join(json.dumps({"id": f"d{n}", "text": "x" * 90}) for n in range(2)),
        ".git/x.md": "x",
    }.items():
        (folder / name).write_text(text)
    (folder / "out.md").symlink_to("/etc/hostname")
    rules: dict[str, object] = {}
    for entry in entries(find([str(folder)], SUFFIXES)):
        match entry:
            case LocalDocument():
                rules[entry.source_key] = None
            case Skipped():
                rules[entry.source_key] = entry.rule
            case EntryProblem():
                rules[entry.source_key] = "problem"
    assert rules == {
        "d0": None,
        "d1": None,
        "guide/.git": SkipRule.HIDDEN,
        "guide/.hidden.md": SkipRule.HIDDEN,
        "guide/a.md": None,
        "guide/big.md": SkipRule.TOO_LARGE,
        "guide/broken.zip": SkipRule.UNSUPPORTED_SUFFIX,
        "guide/data.jsonl": None,
        "guide/empty.jsonl": SkipRule.EMPTY,
        "guide/empty.md": SkipRule.EMPTY,
        "guide/out.md": SkipRule.LINK,
        "guide/picture.png": SkipRule.UNSUPPORTED_SUFFIX,
        "guide/geb\u00fchren.md": None,
        **dict.fromkeys(
            ("guide/~$a.md", "guide/.~lock.a.md#", "guide/.DS_Store", "guide/Thumbs.db"), SkipRule.LEFT_BEHIND
        ),
    }


def test_what_programs_left_behind_is_skipped_even_if_it_is_named(tmp_path: Path) -> None:
    for name in ("~$a.docx", "Thumbs.db", "a.md"):
        (tmp_path / name).write_text("x")
    named = entries(find([str(path) for path in sorted(tmp_path.iterdir())], SUFFIXES))
    matched = entries(find([f"{tmp_path}/*"], SUFFIXES))
    for found in (named, matched):
        assert [
            isinstance(one, LocalDocument) or one.rule for one in found if not isinstance(one, EntryProblem)
        ] == [
            SkipRule.LEFT_BEHIND,
            True,
            SkipRule.LEFT_BEHIND,
        ]


def test_keys_have_one_form_whatever_the_system(tmp_path: Path) -> None:
    (tmp_path / "gebu\u0308hren.md").write_text("x")
    assert list(keys(find([str(tmp_path)], SUFFIXES))) == [f"{tmp_path.name}/geb\u00fchren.md"]


def test_a_folder_in_which_all_is_skipped_holds_no_documents(tmp_path: Path) -> None:
    (tmp_path / "picture.png").write_bytes(b"x")
    with pytest.raises(CommandFailed, match="holds no documents") as caught:
        find([str(tmp_path)], SUFFIXES)
    assert ".jsonl" in caught.value.remedy


def test_a_root_takes_the_place_of_the_folders_name(tmp_path: Path) -> None:
    folder = tmp_path / "guide"
    (folder / "parts").mkdir(parents=True)
    (folder / "parts" / "one.md").write_text("x")
    assert [one.key for one in find([str(folder)], SUFFIXES, "guide-b")] == ["guide-b/parts/one.md"]
