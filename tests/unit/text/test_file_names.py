from __future__ import annotations

import pytest

from responsa_server.text.file_names import name_words


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("manuals/pump_x200_manual.md", "manuals pump x200 manual"),
        ("Budget 2026.tar.gz", "Budget 2026"),
        ("4K-Projektor (Saal).pdf", "4K Projektor Saal"),
        ("a/b/Reise/01a22c99-600a-715f-a7d2-c258a9f2b934.pdf", "Reise"),
        ("scan20260412_0007.pdf", "scan"),
        ("https://example.org/handbook/Mooring%20rules.html?id=view", "handbook Mooring rules"),
        (
            "one two three four five six seven eight nine ten eleven twelve thirteen.md",
            "one two three four five six seven eight nine ten eleven twelve",
        ),
    ],
)
def test_the_words_of_a_files_name_are_those_that_say_what_it_is(address: str, words: str) -> None:
    assert name_words(address) == words
