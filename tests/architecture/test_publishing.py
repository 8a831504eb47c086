"""The version and the names of publishing.toml stand in all files that have them, and another publisher's take their places.
Publishing runs one command for each package, in order, and none without an owner."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.clients.packed import PUBLISHED, clone
from tests.instance import ROOT
from tools import publish
from tools.baseline import tags_of_commit
from tools.publishing import FORMS, fill, missing, owner, present, wanted

LICENSED = (
    *("server/responsa_formats", "clients/python", "clients/typescript", "clients/go", "clients/rust"),
    *("generated/ts", "generated/go", "generated/rust"),
)
"""The folders that are packed as they are."""


def test_all_files_have_the_version_and_the_names() -> None:
    assert missing() == []
    assert present() == wanted()


def test_a_tag_of_this_commit_is_its_version() -> None:
    assert set(tags_of_commit()) <= {f"v{wanted()['version']}"}


def test_the_notes_of_a_release_are_its_section_and_short() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"## {wanted()['version']} (" in text
    assert publish.notes() in text
    assert publish.notes().count("\n") <= 60
    dated = re.search(r"^## \S+ \((.+)\)$", text, re.MULTILINE)
    assert dated is not None
    assert not tags_of_commit() or re.fullmatch(r"\d{4}-\d\d-\d\d", dated[1])


def test_notes_without_a_section_end_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "publishing.toml").write_text('version = "7.0.0"\n', encoding="utf-8")
    (tmp_path / "CHANGELOG.md").write_text("## 0.1.0 (2026-12-01)\n\nFirst.\n", encoding="utf-8")
    with pytest.raises(SystemExit, match=r"no section 7\.0\.0"):
        publish.notes(tmp_path)


def test_each_package_is_published_in_order_and_only_for_an_owner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "publishing.toml").write_text(PUBLISHED, encoding="utf-8")
    for folder in ("build/dist", "generated/rust", "clients/rust", "clients/java"):
        (tmp_path / folder).mkdir(parents=True)
    for name in ("responsa-1.2.3-py3-none-any.whl", "responsa-1.2.3.tar.gz", "responsa-chart-1.2.3.tgz"):
        (tmp_path / "build" / "dist" / name).touch()
    ran: list[tuple[str, str]] = []

    def run(command: tuple[str, ...], *, cwd: Path, check: bool) -> None:
        assert check
        ran.append((str(cwd.relative_to(tmp_path)), " ".join(command)))

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setenv("MAVEN_REPOSITORY", "https://maven.example.org")
    publish.publish(tmp_path)
    assert ran == []
    assert "names no owner" in capsys.readouterr().out
    (tmp_path / "publishing.toml").write_text(f'owner = "others"\n{PUBLISHED}', encoding="utf-8")
    assert owner(tmp_path) == "others"
    publish.publish(tmp_path)
    assert ran == [
        (".", "twine upload build/dist/responsa-1.2.3-py3-none-any.whl build/dist/responsa-1.2.3.tar.gz"),
        (".", "npm publish --access public build/dist/others-answers-contract-1.2.3.tgz"),
        (".", "npm publish --access public build/dist/others-answers-1.2.3.tgz"),
        (".", "git tag generated/go/v1.2.3"),
        (".", "git tag clients/go/v1.2.3"),
        (".", "git push origin generated/go/v1.2.3 clients/go/v1.2.3"),
        ("generated/rust", "cargo publish"),
        ("clients/rust", "cargo publish"),
        (
            "clients/java",
            "mvn --batch-mode deploy -DaltDeploymentRepository=maven::https://maven.example.org",
        ),
    ]


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
