"""How quoted parts of documents are shown: as Markdown that says what a reader of the document sees, and nothing else."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from responsa_formats.parsers.table import MARKDOWN as MARKDOWN_FORMAT
from responsa_formats.text.inline import STRUCK
from responsa_server.text.shown import (
    MARKDOWN,
    QuoteOrigin,
    cells_of,
    header_of,
    is_header,
    shown_blocks,
    shown_code,
    shown_table,
)

RENDERER = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
PLAIN = QuoteOrigin(markdown=False)


def tokens(markdown: str) -> list[Token]:
    """All tokens that a renderer makes of a text, blocks and what is within them."""
    found = RENDERER.parse(markdown)
    return [*found, *(child for token in found for child in (token.children or ()))]


def words(markdown: str) -> str:
    """What a reader sees, without white space."""
    seen = [
        token.content
        for token in tokens(markdown)
        if token.type in ("text", "code_inline", "fence", "code_block")
    ]
    return "".join("".join(seen).split())


def check(markdown: str) -> None:
    """Nothing but text, emphasis, code, lists, tables and links to the web is rendered."""
    for token in tokens(markdown):
        assert token.type not in ("html_inline", "html_block", "image"), markdown
        if token.type == "link_open":
            assert str(token.attrs["href"]).startswith(("https://", "http://")), markdown


def test_the_media_type_is_that_of_the_format() -> None:
    assert MARKDOWN_FORMAT.media_type == MARKDOWN


RAW = re.compile(
    r"^\s*\|.*\||\|\s*:?-{3}|```|~~~|</?[a-zA-Z][^<>]*>|<!--|^\s*:{3}|\{\{|\{%|\]\(|\*\*|__\w|^\s*!{3}\s|^\s*#{1,6}\s|\[\^|\{[:#.]",
    re.MULTILINE,
)


def shows_markup(text: str) -> bool:
    """Whether raw markup is visible after the text was rendered as Markdown. Code may contain anything."""
    rendered = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"]).parse(text)
    shown = (piece.content for token in rendered for piece in (token.children or ()) if piece.type == "text")
    return any(RAW.search(one) for one in shown)


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("Use *this*, __that__ and `a_b`.", "Use *this*, **that** and `a_b`."),
        ("See [the **docs**](https://example.org/a_b).", "See [the **docs**](https://example.org/a_b)."),
        (
            "See [here](../setup.md), [there][setup] and <https://example.org>.",
            "See here, there and [https://example.org](https://example.org).",
        ),
        ("A [trap](javascript:alert(1)) and [mail](mailto:a@example.org).", "A trap and mail."),
        ("Press <kbd>Ctrl</kbd>\n<span class='x'>now</span>.", "Press Ctrl now."),
        ("One line<br>and another.", "One line  \nand another."),
        ("Before <script>alert(1)</script> after <!-- a note -->end.", "Before after end."),
        ("10<sup>6</sup> H<sub>2</sub>O x<sup>a+1</sup> 40<sup>1</sup>", "10⁶ H₂O x^(a+1) 40¹"),
        ("A fee of <del>80</del> ~~70~~ <s>*60*</s> 50", "A fee of ~~80~~ ~~70~~ ~~*60*~~ 50"),
        ("- [x] Rafts\n- [ ] Pumps\n- [~] Oars", "- ☑ Rafts\n- ☐ Pumps\n- [~] Oars"),
        (
            "<input type='checkbox' checked> Rafts <INPUT disabled type=checkbox> Pumps <input value=7>",
            "☑ Rafts ☐ Pumps",
        ),
        ("![A gear](gear.svg) Settings", "A gear Settings"),
        ("Costs rose[^1] {{< badge new >}}by *half*{: .wide} {% raw %}.", "Costs rose by *half* ."),
        ("!!! warning\n    Never do that.", "Never do that."),
        ("::: tip\nTry it.", "Try it."),
        ("[!NOTE] Read\n> this twice.", "Read this twice."),
        (
            "[[page|Another page]] says so, [^note] and :octicons-gear-16: too.",
            "Another page says so, and too.",
        ),
        ("2 * 3 < 7, snake_case and a\\*b", "2 * 3 < 7, snake_case and a\\*b"),
        ("&lt;b&gt; is not bold, <b>this</b> is", "`<b>` is not bold, this is"),
        ("Listen on <port> of Vec<T>, <Tabs>here", "Listen on `<port>` of Vec`<T>`, here"),
        ("<div>\n</div>", ""),
    ],
)
def test_prose_keeps_its_markdown_and_loses_the_marks_of_its_site(source: str, shown: str) -> None:
    made = shown_blocks(source, QuoteOrigin())
    assert made == shown
    check(made)
    assert not shows_markup(made)


@pytest.mark.parametrize(
    ("source", "indent", "shown"),
    [
        ("```bash title='x'\n  run\n  ```", 2, "```bash\nrun\n```"),
        ("first\n      second\n    third", 4, "```\nfirst\n  second\nthird\n```"),
        ("~~~\na ``` b\n~~~", 0, "````\na ``` b\n````"),
        ("```toml\n    [a]\n    ```", 4, "```toml\n[a]\n```"),
        ('<pre><code class="cmd">a &lt;b&gt;\n\n<b>c</b></code></pre>', 0, "```\na <b>\n\nc\n```"),
        ("```\n\n```", 0, ""),
    ],
)
def test_code_is_fenced_as_it_is(source: str, indent: int, shown: str) -> None:
    made = shown_code(source, QuoteOrigin(indent=indent))
    assert made == shown
    check(made)


def test_sentences_with_what_they_announce_keep_its_form() -> None:
    assert shown_blocks("To start it, run:\n\n   ```sh\n   up\n   ```", QuoteOrigin(indent=3)) == (
        "To start it, run:\n\n```sh\nup\n```"
    )
    assert (
        shown_blocks("Choose:\n+ *one*\n+ two\n\n  at length", QuoteOrigin())
        == "Choose:\n\n- *one*\n- two\n\n  at length"
    )
    table = "The ports:\n\nPort|Use\n:-|-:\n80|`a\\|b`\n"
    assert shown_blocks(table, QuoteOrigin()) == "The ports:\n\n| Port | Use |\n|---|---|\n| 80 | `a\\|b` |"


def test_rows_stand_below_the_names_of_their_columns() -> None:
    rows = ["| `8080` | [page](x.md) |", r"| a \| b |  |", "| *c* | d | e |", "|  |  |"]
    assert shown_table(["B_1", "Use"], rows, QuoteOrigin()) == (
        "| B_1 | Use |  |\n|---|---|---|\n| `8080` | page |  |\n| a \\| b |  |  |\n| *c* | d | e |"
    )
    assert shown_table(["A"], ["|  |"], QuoteOrigin()) == ""
    assert shown_table((), ["~~Tea~~ | *3*"], PLAIN) == "|  |  |\n|---|---|\n| ~~Tea~~ | \\*3\\* |"


def test_rows_that_say_the_names_of_their_columns_are_a_table_and_wide_ones_a_list() -> None:
    named = QuoteOrigin(False, named=True)
    rows = ["city: Bonn | area: 141", "city: Ulm | note: small | note: old"]
    assert shown_table((), rows, named) == (
        "| city | area | note |\n|---|---|---|\n| Bonn | 141 |  |\n| Ulm |  | small old |"
    )
    wide = " | ".join(f"c{number}: {number}" for number in range(9))
    assert shown_table((), [wide], named).startswith("- **c0**: 0; **c1**: 1; ")


def test_the_header_of_a_row() -> None:
    table = "Text | text\n\n> | *Port* | Use |\n> |---|:-:|\n> | 1 | a |\n> "
    assert list(header_of(table)) == ["Port", "Use"]
    assert header_of("Text\n\n| 1 | a |\n") == ()
    assert list(header_of("Text\n\nPort | Use\n---|---\n1 | a\n")) == ["Port", "Use"]
    assert list(header_of("Text\n\n| | Use\n---|---\n1 | a\n")) == ["", "Use"]
    assert list(header_of("Text\n\nName\n---|\nAnn\n")) == ["Name"]
    assert header_of("Text\n\nPort | Use\n1 | a\n") == ()
    assert is_header("Text\n\n", "\n|---|---|\n| 1 | a |")
    assert is_header("# Ports\n", "\n---|---\n1 | a")
    assert not is_header("| Port | Use |\n|---|---|\n", "\n| 2 | b |")
    assert not is_header("Port | Use\n---|---\n", "\n---|---\nthree | four")
    assert cells_of(r"|a|b \| c|") == ["a", r"b \| c"]


@given(st.text(alphabet=st.sampled_from("ab1 \n\\`*_~[](){}<>!&;:#+-=.|\"'^/é"), max_size=60))
def test_text_of_other_formats_is_shown_unchanged(text: str) -> None:
    made = shown_blocks(text, PLAIN)
    check(made)
    kinds = {token.type for token in tokens(made)}
    if "s_open" in kinds:
        text = STRUCK.sub(lambda found: found.group()[2:-2], text)
    assert words(made) == "".join(text.split())
    assert not kinds & {"em_open", "strong_open", "code_inline", "link_open"}


def test_what_a_document_strikes_is_shown_struck() -> None:
    assert shown_blocks("The fee is ~~80 *euros*~~ 65.", PLAIN) == "The fee is ~~80 \\*euros\\*~~ 65."
    assert shown_blocks("The half ~~of", PLAIN) == "The half \\~\\~of"


def _row(text: str, origin: QuoteOrigin) -> str:
    return shown_table((), [text], origin)


HOSTILE = st.lists(
    st.sampled_from(
        re.findall(
            r"\S+",
            "<img/src=x> <script> </script> [a]( ) ](https://x.org) <https://x.org> "
            "![i](https://x.org/i) ` `` * ** _ ~~ \\ [ ] < > &lt; &#x3c; word"
            " {{ }} [^1] ::: | # javascript:",
        )
    )
    | st.sampled_from(("\n", " ", "- ", "1. ", "> ")),
    max_size=25,
).map("".join)


@given(HOSTILE)
def test_no_markdown_shows_html_or_an_image(text: str) -> None:
    for made in (
        shown_blocks(text, QuoteOrigin()),
        shown_blocks(text, QuoteOrigin()),
        shown_table(["<b>"], [f"| {text.replace(chr(10), ' ')} |"], QuoteOrigin()),
    ):
        check(made)


@pytest.mark.parametrize(
    "text",
    [
        "> " * 10_000 + "deep",
        "|a" * 1_000 + "|",
        "[" * 20_000,
        "x" * 24_000,
        "*a_" * 8_000,
        "`" * 9_999 + "a",
        "<a " * 9_000,
    ],
    ids=["quotes", "columns", "brackets", "word", "emphasis", "ticks", "tags"],
)
def test_hostile_text_takes_bounded_time(text: str) -> None:
    begun = time.process_time()
    for show in (shown_blocks, shown_code, _row):
        check(show(text, QuoteOrigin()))
    assert time.process_time() - begun < 30


def test_prose_with_more_brackets_than_a_parser_reads_in_time_is_shown_without_its_markdown() -> None:
    assert shown_blocks("*a* " + "[" * 500, QuoteOrigin()).startswith("*a* ")
    assert shown_blocks("*a* " + "[" * 501, QuoteOrigin()).startswith("\\*a\\* ")


def test_characters_that_reorder_text_are_left_out() -> None:
    assert shown_blocks("a\u202eb\u2066c", QuoteOrigin()) == "abc"
    assert shown_blocks("a\u202eb\u2066c", PLAIN) == "abc"
