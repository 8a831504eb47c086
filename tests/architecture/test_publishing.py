"""The version and the names of publishing.toml stand in all files that have them, and another publisher's take their places."""

from __future__ import annotations

from pathlib import Path

from tests.clients.packed import PUBLISHED, clone
from tests.instance import ROOT
from tools.publishing import FORMS, fill, missing, present, wanted

LICENSED = (
    *("server/responsa_formats", "clients/python", "clients/typescript", "clients/go", "clients/rust"),
    *("generated/ts", "generated/go", "generated/rust"),
)
"""The folders that are packed as they are."""


def test_all_files_have_the_version_and_the_names() -> None:
    assert missing() == []
    assert present() == wanted()


def test_another_publisher_sets_them_in_one_place(tmp_path: Path) -> None:
    copy = clone(tmp_path, "publishing.toml", "clients/", "generated/go/", *FORMS)
    (copy / "publishing.toml").write_text(PUBLISHED, encoding="utf-8")
    fill(copy)
    assert missing(copy) == []
    assert present(copy) == wanted(copy)
    left = {name for key, name in wanted().items() if key.startswith(("go.", "typescript."))}
    sources = [file for file in (copy / "clients").rglob("*") if file.suffix in {".go", ".ts", ".mjs"}]
    assert [file for file in sources if any(name in file.read_text(encoding="utf-8") for name in left)] == []


def test_each_package_has_the_text_of_the_licence() -> None:
    text = (ROOT / "LICENSE").read_bytes()
    assert [folder for folder in LICENSED if (ROOT / folder / "LICENSE").read_bytes() != text] == []
