"""The names of downloaded files."""

from __future__ import annotations

import pytest

from responsa_server.domain.knowledge import file_name
from responsa_server.transports.http.uploaded_files import attachment


@pytest.mark.parametrize(
    ("source_key", "name"),
    [
        ("docs/guide.pdf", "guide.pdf"),
        ("a\\b\\Fluß.txt", "Fluß.txt"),
        ("../../etc/passwd", "passwd"),
        (".bashrc", "bashrc"),
        ("...", "document"),
        ("folder/", "folder"),
        ("a\r\nSet-Cookie: x.html", "aSet-Cookie_ x.html"),
        ("photo\u202egpj.exe", "photogpj.exe"),
        ('say "hi".md', "say _hi_.md"),
        ("日本語.csv", "日本語.csv"),
        ("é" * 300 + ".pdf", "é" * 98 + ".pdf"),
        ("a.b" * 100, "a.b" * 66 + ".b"),
        ("end. ", "end"),
    ],
)
def test_a_file_has_a_harmless_name(source_key: str, name: str) -> None:
    assert file_name(source_key) == name
    assert len(file_name(source_key).encode()) <= 200


def test_the_header_of_an_attachment() -> None:
    assert attachment("a b.md") == "attachment; filename=\"a b.md\"; filename*=UTF-8''a%20b.md"
    assert attachment("Fluß%.md") == "attachment; filename=\"Flu__.md\"; filename*=UTF-8''Flu%C3%9F%25.md"
    assert attachment("日.md").encode("latin-1").isascii()
