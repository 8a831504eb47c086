"""What `responsa documents` prints of a comparison, and where it writes files."""

from __future__ import annotations

from pathlib import Path

import pytest

from responsa.knowledge.v1 import document_version_pb2, knowledge_service_pb2
from responsa.type.v1 import byte_range_pb2
from responsa_server.cli.originals import check_free, edges, plain_name, write_file
from responsa_server.cli.output import CommandFailed
from responsa_server.cli.versions import differences


def version(number: int) -> document_version_pb2.DocumentVersion:
    return document_version_pb2.DocumentVersion(version=number, title="The\nmill")


def hunk(
    kind: document_version_pb2.HunkKind.ValueType,
    base: tuple[int, int],
    other: tuple[int, int],
    before: str = "",
    after: str = "",
) -> document_version_pb2.VersionHunk:
    return document_version_pb2.VersionHunk(
        kind=kind,
        base_range=byte_range_pb2.ByteRange(start=base[0], end=base[1]),
        other_range=byte_range_pb2.ByteRange(start=other[0], end=other[1]),
        base_text=before,
        other_text=after,
    )


def test_a_comparison_shows_the_lines_that_differ() -> None:
    compared = knowledge_service_pb2.CompareDocumentVersionsResponse(
        base=version(1),
        other=version(3),
        hunks=[
            hunk(document_version_pb2.HUNK_KIND_EQUAL, (0, 5), (0, 5)),
            hunk(document_version_pb2.HUNK_KIND_REPLACED, (5, 10), (5, 11), "rye\n\n", "wheat\n"),
            hunk(document_version_pb2.HUNK_KIND_DELETED, (10, 3010), (11, 11), "é" * 1000),
            hunk(document_version_pb2.HUNK_KIND_INSERTED, (3010, 3010), (11, 14), "", "end"),
        ],
    )
    assert list(differences(compared)) == [
        "--- version 1  The mill",
        "+++ version 3  The mill",
        "@@ bytes 5-10 → 5-11 @@",
        "- rye",
        "-",
        "+ wheat",
        "@@ bytes 10-3010 → 11-11 @@",
        "- " + "é" * 1000,
        "- … and 1,000 more bytes",
        "@@ bytes 3010-3010 → 11-14 @@",
        "+ end",
    ]


def test_equal_texts_are_said_to_be_equal() -> None:
    same = hunk(document_version_pb2.HUNK_KIND_EQUAL, (0, 5), (0, 5))
    for hunks in ([same], []):
        compared = knowledge_service_pb2.CompareDocumentVersionsResponse(hunks=hunks)
        assert list(differences(compared))[2:] == ["The texts are equal."]


def test_a_file_is_overwritten_only_by_force(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert write_file("", "mill.pdf", b"one", force=False) == Path("mill.pdf")
    with pytest.raises(CommandFailed, match=r"mill.pdf exists") as refused:
        write_file("", "mill.pdf", b"two", force=False)
    assert "--force" in refused.value.remedy
    with pytest.raises(CommandFailed, match="exists"):
        write_file(str(tmp_path), "mill.pdf", b"two", force=False)
    assert (tmp_path / "mill.pdf").read_bytes() == b"one"
    assert write_file(str(tmp_path), "mill.pdf", b"two", force=True) == tmp_path / "mill.pdf"
    assert (tmp_path / "mill.pdf").read_bytes() == b"two"
    with pytest.raises(CommandFailed, match="cannot be written"):
        write_file("no/such/folder.pdf", "mill.pdf", b"two", force=True)


def test_a_file_that_exists_is_refused_before_a_download(tmp_path: Path) -> None:
    there = tmp_path / "mill.pdf"
    check_free(str(there), force=False)
    there.touch()
    with pytest.raises(CommandFailed, match="exists"):
        check_free(str(there), force=False)
    for free in ("", "-"):
        check_free(free, force=False)
    check_free(str(there), force=True)


def test_a_link_is_not_followed_without_force(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "aim")
    with pytest.raises(CommandFailed, match="exists"):
        write_file(str(tmp_path / "link"), "x", b"one", force=False)
    assert not (tmp_path / "aim").exists()


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("mill.pdf", "mill.pdf"),
        ("Fluß 1.pdf", "Fluß 1.pdf"),
        ("../.bashrc", "document"),
        (".bashrc", "document"),
        ("/etc/passwd", "document"),
        ("a\\b", "document"),
        ("a\x1b[2J", "document"),
        ("..", "document"),
        ("", "document"),
    ],
)
def test_a_server_chooses_no_place(given: str, used: str) -> None:
    assert plain_name(given) == used


def test_a_box_is_four_edges_in_order() -> None:
    assert edges("0,250, 900,1000") == (0, 250, 900, 1000)
    for wrong in (
        "1,2,3",
        "1,2,3,4,5",
        "a,b,c,d",
        "9,0,1,1",
        "0,9,1,1",
        "0,0,1001,1",
        "-1,0,1,1",
        "0,0,1.5,1",
    ):
        with pytest.raises(CommandFailed, match="--box takes left,top,right,bottom"):
            edges(wrong)
