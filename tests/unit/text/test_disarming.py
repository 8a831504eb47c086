"""What models and documents write reaches no host by being shown, wherever it is cut into pieces, and code and harmless
Markdown stay as they are."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from responsa_server.text.disarming import MOST_HELD, Disarmer, disarm, disarm_quoted, links
from tests.hostile_markdown import EVIL, HARMLESS, HOSTILE, OWN, live

SOURCES = (f"A passage with [a link]({OWN}).",)
MARKDOWN = st.lists(
    st.sampled_from(
        [
            *"![]()<>`\\|:\n -=a\"'~\u00a0",
            "](", "]:", "![", "``", "```", "\n\n", "    ", "\n- ", "\n> ", "1. ", "|---|---|", "&lt;", "<b>", "<div", "<!--", "img src=x",
            "[r]", "[^1]: ", EVIL, OWN, f"![x]({EVIL})", f"[x]({OWN})", f"<{EVIL}>", "title=",
        ]
    ),
    max_size=16,
).map("".join)  # fmt: skip
CUTS = st.lists(st.integers(0, 120), max_size=8)


def in_pieces(text: str, cuts: Sequence[int], before: str = "") -> str:
    places = sorted({0, len(text), *(min(cut, len(text)) for cut in cuts)})
    disarmer = Disarmer(lambda: SOURCES, before)
    shown = [disarmer.feed(text[start:end]) for start, end in itertools.pairwise(places)]
    return "".join([*shown, disarmer.end()])


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_text_shows_nothing_of_a_host(text: str) -> None:
    assert live(text)
    assert live(disarm(text, SOURCES)) == []


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        # Not all renderers take the same for code, a mark or the end of an address.
        (f"   * a\n\t>![x]({EVIL})", "   * a\n\t>x"),
        (f"![r]\n\n[r]: {EVIL}\\\tx", f"![r]\n\n[r]\\: {EVIL}\\\tx"),
        (f"[^1]: > - [r]: {EVIL}\n\n![r]", f"[^1]: > - [r]\\: {EVIL}\n\n![r]"),
        (f"- [ ] [r]: {EVIL}\n\n![r]", f"- [ ] [r]\\: {EVIL}\n\n![r]"),
        (f"\ufeff[r]: {EVIL}\n\n![r]", f"\ufeff[r]\\: {EVIL}\n\n![r]"),
        (f"> ~~~ a | b\n> -|-\n> ![a]({EVIL})\n", f"> ~~~ a | b\n> \\-|-\n> ![a]({EVIL})\n"),
        (f">     ![a]({EVIL}) | b\n-|-\n", f">     ![a]({EVIL}) | b\n\\-|-\n"),
        ("<http://e.x/\0>", "\\<http://e.x/\ufffd>"),
        ("[a](mailto:a)", "[a]\\(mailto:a)"),
    ],
)
def test_what_one_renderer_alone_would_show_is_text(text: str, shown: str) -> None:
    assert disarm_quoted(text) == shown
    assert [part for part in live(shown, (EVIL,)) if part.startswith(("image", "html"))] == []


def test_the_work_for_an_address_is_done_once() -> None:
    class Counting(str):
        calls = 0

        def find(self, *arguments: object) -> int:
            Counting.calls += 1
            return super().find(*arguments)  # type: ignore[arg-type]

    source = Counting("https://a.b/xq " * 500)
    disarm("<https://a.b/> " * 500, [source])
    assert Counting.calls < 1000


@pytest.mark.parametrize("text", HARMLESS)
def test_a_harmless_text_stays_as_it_is(text: str) -> None:
    assert disarm(text, SOURCES) == text
    assert in_pieces(text, range(len(text))) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"a ![some *words*]({EVIL}) b", "a some words b"),
        (f"![a ![b]({EVIL}) c]({EVIL})", "a b c"),
        ("![a logo][r]", "a logo"),
        (f"![<img src=x>]({EVIL})", "\\<img src=x>"),
        ("<img src=x> List<String>", "\\<img src=x> List\\<String>"),
        (f"[click]({EVIL})", f"[click]\\({EVIL})"),
        ("[click](javascript:alert(1))", "[click]\\(javascript:alert(1))"),
        (f"[part]({OWN[:-2]}) [more]({OWN}?q=1)", f"[part]\\({OWN[:-2]}) [more]\\({OWN}?q=1)"),
        (f"[r]: {EVIL}", f"[r]\\: {EVIL}"),
        (f"<{EVIL}>", f"\\<{EVIL}>"),
    ],
)
def test_what_is_shown_instead(text: str, shown: str) -> None:
    assert disarm(text, SOURCES) == shown


def test_real_documents_are_changed_in_nothing_else() -> None:
    """Of the project's own pages, only links within the site, comments and images are changed."""
    for page in Path("docs").glob("*.md"):
        lines = page.read_text(encoding="utf-8").split("\n")
        text = "\n".join(line for line in lines if not line.startswith(("<!--", "![")))
        shown = disarm_quoted(text)
        assert live(shown, [address for address in links(text) if address.startswith("http")]) == []
        assert shown.replace("]\\(", "](") == text, page


@given(MARKDOWN, CUTS)
def test_no_text_shows_anything_of_a_host_wherever_it_is_cut(text: str, cuts: list[int]) -> None:
    shown = disarm(text, SOURCES)
    assert live(shown) == []
    assert in_pieces(text, cuts) == shown


@given(MARKDOWN, MARKDOWN, CUTS)
def test_what_follows_a_shown_text_makes_nothing_of_its_end(first: str, second: str, cuts: list[int]) -> None:
    before = disarm(first, SOURCES)
    assert live(before + in_pieces(second, cuts, before)) == []


@given(MARKDOWN, st.integers(1, 60))
def test_a_text_that_is_cut_to_a_size_shows_nothing_of_a_host(text: str, most: int) -> None:
    shown = disarm(text, SOURCES, most_bytes=most)
    assert len(shown.encode()) <= most
    assert live(shown) == []


@given(
    st.lists(st.sampled_from([f"![wörter]({EVIL})", "<b>", "ä", "b", " ", f"[x]({EVIL})"]), max_size=8), CUTS
)
def test_places_move_with_the_text(parts: list[str], cuts: list[int]) -> None:
    text = "".join(parts)
    disarmer = Disarmer(start=7)
    shown = (disarmer.feed(text) + disarmer.end()).encode()
    at = 7
    for number in range(len(parts) + 1):
        size = len("".join(parts[:number]).encode())
        at, last = disarmer.moved(7 + size), at
        assert last <= at <= 7 + len(shown)
        shown[at - 7 :].decode()
        if number < len(parts) and parts[number] in ("ä", "b"):
            assert shown[at - 7 :].startswith(parts[number].encode())


@pytest.mark.parametrize("begun", ["![", "<a ", "[x](", "`<b", "[r]: "])
def test_a_bounded_number_of_characters_is_held_back(begun: str) -> None:
    disarmer = Disarmer()
    text = begun + "a" * 3 * MOST_HELD
    sent = sum(len(disarmer.feed(character)) for character in text)
    assert len(text) - sent <= MOST_HELD
    assert live(text[:sent]) == []
