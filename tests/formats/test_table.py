from __future__ import annotations

import hashlib
import importlib
import sys
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from responsa_formats.containers import MIB
from responsa_formats.parsers.sniff import decide_format, sniff
from responsa_formats.parsers.table import FORMATS, HTML, MARKDOWN, PLAIN_TEXT, Format, Formats
from responsa_formats.rejections import Cause, Rejected
from responsa_formats.sandbox.computation import ParseLimits
from responsa_formats.sandbox.pool import ParserPool
from responsa_formats.sandbox.protocol import pack_rejection, pack_result
from responsa_formats.text import canonical
from responsa_formats.text.canonical import BlockKind, ParsedDocument
from tests.formats.office_files import parse, spans
from tests.formats.originals import original_of, rejected, unpacked

DOCUMENTS = Path(__file__).resolve().parents[1] / "fixtures" / "documents"
PARSERS = {row.name: row.load() for row in FORMATS}

TEXTS = st.text(
    st.one_of(
        st.sampled_from("#>-*`|<>/=&;\n\r\t \u0301😀漢a1.:"),
        st.characters(exclude_categories=["Cs"], exclude_characters="\x00"),
    ),
    max_size=200,
)


def test_markdown_keeps_the_file_and_finds_its_structure() -> None:
    data = (DOCUMENTS / "garden.md").read_bytes()
    document = parse(data, "garden.md")
    assert document.canonical_text.encode() == data
    assert (document.title, document.language) == ("The garden in winter", "en-GB")
    assert spans(document) == [
        (BlockKind.HEADING, 1, "# Winter"),
        (BlockKind.PARAGRAPH, 0, "Leeks stay in the ground until March. They need no cover."),
        (BlockKind.HEADING, 2, "## Pruning"),
        (BlockKind.LIST_ITEM, 1, "- Apple trees: January\n  and February"),
        (BlockKind.LIST_ITEM, 1, "- Plum trees: never in winter"),
        (BlockKind.QUOTE, 1, "> Cut to an outward bud."),
        (BlockKind.TABLE, 0, "| Tree  | Month   |\n|-------|---------|\n| apple | January |"),
        (BlockKind.CODE, 0, "```sh\nprune --dry-run apple\n```"),
    ]
    assert [block.title for block in document.blocks if block.title] == ["Winter", "Pruning"]


def test_html_is_what_a_reader_sees() -> None:
    document = parse((DOCUMENTS / "ferry.html").read_bytes(), "ferry.html")
    assert (document.title, document.language) == ("The ferry", "nl")
    assert document.canonical_text == (
        "The ferry\n\nIt leaves at\u00a0noon.\nIt returns at dusk & rests.\n\nFares\n\nWho | Price\n---|---\nAdult | 4 euro\n\n"
        "3. Buy a ticket\n  - at the pier\n4. Board\n\n  08:00   out\n  18:00   back\n\nNo dogs."
    )
    assert [(kind, level) for kind, level, _ in spans(document)] == [
        (BlockKind.HEADING, 1),
        (BlockKind.PARAGRAPH, 0),
        (BlockKind.HEADING, 2),
        (BlockKind.TABLE, 0),
        (BlockKind.TABLE, 0),
        (BlockKind.LIST_ITEM, 1),
        (BlockKind.LIST_ITEM, 2),
        (BlockKind.LIST_ITEM, 1),
        (BlockKind.CODE, 0),
        (BlockKind.QUOTE, 1),
    ]
    assert spans(document)[5][2] == "3. Buy a ticket"


def test_the_title_of_markdown_has_its_powers() -> None:
    assert parse(b"# The 10<sup>6</sup> cells\n", "a.md").title == "The 10⁶ cells"


def test_plain_text_keeps_its_line_ends() -> None:
    data = (DOCUMENTS / "mill.txt").read_bytes()
    document = parse(data, "mill.txt")
    assert document.canonical_text.encode() == data
    assert document.title == "mill"
    assert [text for _, _, text in spans(document)] == [
        "The mill",
        "It grinds rye.\r\nIt stands by the river.",
        "Nobody lives there.",
    ]


@pytest.mark.parametrize(
    ("data", "name", "title"),
    [
        (b"# A *b* [c](http://d) `e`\nx", "n.md", "A b c e"),
        (b"Set\n===\n", "n.md", "Set"),
        (b"Words.\n\n# A later one\n\n## Below\n", "n.md", "n"),
        (b"Words.\n\n# The first part\n\n# The second\n", "trip_report.md", "trip report"),
        (b"Words.\n\n## Second only\n", "refund-policy.md", "refund policy"),
        (b"## General\n\n# Late\n", "guides/set-up_2.md", "set up 2"),
        (b"Words.\n", "2027-05-03-minutes.md", "2027-05-03 minutes"),
        (b"Words.\n", "Co-op rules.md", "Co-op rules"),
        (b"- 7 -\n\nThe words.\n", "1207.md", "1207"),
        (b"## Elevator noise\n\nIt hums.\n", "1.md", "1"),
        (b"## Elevator noise\n\nIt hums.\n", "", "Elevator noise"),
        (b"<!-- lint: off\n-->\n\n<p align=center>A *b*</p>\n", "12.md", "12"),
        (b"<!-- lint: off -->\n", "n.md", "n"),
        (b"---\n\nA rule, not metadata.\n\n---\n", "", "A rule, not metadata."),
        (b"---\ntitle: Plain\n---\n# H\n", "n.md", "Plain"),
        (b"+++\ntitle = 'Plain'\n+++\n# H\n", "n.md", "Plain"),
        (b"---\ntitle: >-\n  Plain\n  words\n---\n# H\n", "n.md", "Plain words"),
        (b"<title> T\n U </title><p>x", "n.html", "T U"),
        (b"<title>Untitled</title><h2>Fares</h2><p>x", "4.html", "4"),
        (b"<title>Unbenannt 1</title><p>x", "4.html", "4"),
        (b"<title>Unbenannte Wege</title><p>x", "4.html", "Unbenannte Wege"),
        (b"One\n===\n\nA.\n\nTwo\n===\n\nB.\n", "meeting_hall.rst", "meeting hall"),
        (b"<title>Site</title><h1>Fares</h1><p>x", "n.html", "Fares"),
        (b"<title>Site</title><h2>Fares</h2><p>x", "n.html", "Site"),
        (b"<p>first<p>second", "n.html", "n"),
        (b"\r\r  first\rsecond", "", "first"),
        (b"w" * 1000, "", "w" * 300),
    ],
)
def test_titles(data: bytes, name: str, title: str) -> None:
    assert parse(data, name).title == title


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("a/b/My file.md", "My file"),
        ("c:\\x\\y.txt", "y"),
        (".hidden", ".hidden"),
        ("", ""),
        ("v1.2 notes", "v1.2 notes"),
        ("expensePolicy2024.pdf", "expense Policy 2024"),
        ("myHTMLGuideX200.html", "my HTML Guide X200"),
        ("aboutUs.html", "about Us"),
        ("kündigungsFristen(neu).md", "kündigungs Fristen (neu)"),
        ("Q3Report_page2.xlsx", "Q3 Report page 2"),
        # Names are words.
        ("GitHub-setup.md", "GitHub setup"),
        ("T-12_MySQL-utf8.md", "T-12 MySQL utf8"),
        ("iPhone-e-mail.md", "iPhone e mail"),
        ("e-mail_2024-01-15.md", "e-mail 2024-01-15"),
        ("parental%20leave.html", "parental leave"),
    ],
)
def test_a_title_from_a_name(name: str, title: str) -> None:
    assert canonical.title_from_name(name) == title


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("a<b>b</b>c <i> d</i>", "abc d"),
        ("<div>a</div>b<div>c</div>", "a\n\nb\n\nc"),
        ("x&lt;y&gt; &amp;amp; &#x1F600; &#0; &#xD800;", "x<y> &amp; 😀 \ufffd \ufffd"),
        ("soft&shy;ly", "softly"),
        ("<ul><li><p>a<p>b<li>c</ul>", "- a\n  b\n- c"),
        ("<table><tr><td><h2>H</h2><p>p<td>q</table>", "H\n\np\n\nq"),
        ("<table><tr><td>a<table><tr><td>b<td>c</table></table>", "a\n\nb | c"),
        ("<table><caption>C</caption><tr><td>a<br>b<td></table>", "C\n\na b"),
        ("<dialog>closed</dialog><dialog open>open</dialog>", "open"),
        ("<details><summary>s</summary>d</details>", "s\n\nd"),
        ("<p style='color:red;visibility:hidden'>no</p><p style='opacity:0.5'>yes</p>", "yes"),
        ("<svg><text>no</text></svg><datalist><option>no</datalist>yes", "yes"),
        ("<pre>\n a\n  b\n</pre>", " a\n  b"),
        ("<script>'</p><p>no'</script>yes", "yes"),
        ("10<sup>6</sup> H<sub>2</sub>O x<sup>a+1</sup> 5<sup>th</sup>", "10⁶ H₂O x^(a+1) 5th"),
        ("<pre>10<sup>6</sup></pre>", "10⁶"),
        (
            "40<sup>1</sup> or 40<sup>[<a href='#n'>1</a>]</sup> or 40<a href='#n'><sup>1</sup></a>",
            "40¹ or 40 or 40",
        ),
        ("40<a role=doc-noteref href='n'>1</a>, <a href='#m2'>m<sup>2</sup></a>", "40, m²"),
        (
            "<del>80 <b>euros</b></del> <span style='text-decoration: line-through'>70</span> 65",
            "~~80 euros~~ ~~70~~ 65",
        ),
        ("<s><p>Dogs.<p>Cats.</s>", "~~Dogs.~~\n\n~~Cats.~~"),
        ("<table><tr><td><s>Tea</s><td>3</table>", "~~Tea~~ | 3"),
        ("<h1><img src=x onerror=alert(1)>t</h1>", "t"),
        (
            "<p>Cleaning ........ 3<li>Firing … … … 12<p>Storage . . . . . 17<br>xi<h2>Cleaning</h2><h2>Storage</h2>x",
            "xi\n\nCleaning\n\nStorage\n\nx",
        ),
    ],
)
def test_html_details(html: str, text: str) -> None:
    assert parse(html.encode(), "a.html").canonical_text.rstrip() == text.rstrip()


@pytest.mark.parametrize(
    "html", ["<p></p>", "<script>x</script>", "<title>only a title</title>", "<p hidden>x"]
)
def test_html_without_visible_text_is_empty(html: str) -> None:
    with rejected(Cause.EMPTY):
        parse(html.encode(), "a.html")


def test_nesting_in_scripts_and_comments_does_not_count() -> None:
    html = "<script>" + "'<div>'" * 5000 + "</script><!--" + "<div>" * 5000 + "--><p>x"
    assert parse(html.encode(), "a.html").canonical_text == "x"
    with rejected(Cause.PARSER_LIMIT):
        parse(b"<div>" * 5000 + b"x", "a.html")


@pytest.mark.parametrize(
    "markdown",
    [
        ">" * 100_000 + " x",
        "- " * 100_000 + "x",
        "[" * 100_000,
        "*" * 1_000_000,
        "x" * 10_000_000,
        "`" * 100_001,
    ],
)
def test_pathological_markdown_ends(markdown: str) -> None:
    assert parse(markdown.encode(), "a.md").canonical_text == markdown


def test_blocks_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canonical, "MAX_BLOCKS", 3)
    with rejected(Cause.PARSER_LIMIT, match="paragraphs"):
        parse(b"a\n\n" * 4, "a.txt")


@settings(max_examples=150)
@given(TEXTS, st.sampled_from([row for row in FORMATS if not row.is_binary]))
def test_any_text_gives_sound_blocks_that_survive_the_wire(text: str, row: Format) -> None:
    if not text.strip():
        return
    try:
        document = PARSERS[row.name](original_of(text, row.name))
    except Rejected as error:
        expected = (Cause.EMPTY, Cause.MALFORMED)
        if row in (MARKDOWN, PLAIN_TEXT) or error.reason not in expected:
            raise
        return
    data = document.canonical_text.encode()
    if row in (MARKDOWN, PLAIN_TEXT):
        assert document.canonical_text == text
    end = 0
    for block in document.blocks:
        assert end <= block.byte_start < block.byte_end <= len(data)
        assert data[block.byte_start : block.byte_end].decode().strip()
        end = block.byte_end
    if document.canonical_text.strip():
        assert unpacked(pack_result(document)) == document


@given(st.binary(max_size=300))
def test_garbage_frames_are_malformed_documents(junk: bytes) -> None:
    good = pack_result(ParsedDocument("t", "text", (), None, "TEXT"))
    for frame in (
        junk,
        b"RSP1" + junk,
        good + junk[:1] + b"x",
        good[: len(junk)],
        pack_rejection(Rejected.as_empty())[:-1],
    ):
        if frame == good:
            continue
        with rejected(Cause.MALFORMED):
            unpacked(frame)


@given(st.integers(0, 200), st.integers(0, 255))
def test_a_flipped_byte_never_gives_an_unsound_document(place: int, value: int) -> None:
    original = parse("# Ü\n\ntext 😀\n\n- i\n".encode(), "a.md")
    frame = bytearray(pack_result(original))
    frame[place % len(frame)] = value
    try:
        document = unpacked(bytes(frame))
    except Rejected as error:
        if error.reason is not Cause.MALFORMED:
            raise
        return
    data = document.canonical_text.encode()
    for block in document.blocks:
        data[block.byte_start : block.byte_end].decode()


def test_another_text_of_the_same_bytes_has_another_version_of_its_parser() -> None:
    """If this test fails after a change of a parser, add 1 to the format's version and write the new hash here."""
    files = {path.suffix[1:]: path for path in DOCUMENTS.iterdir()}
    texts: dict[str, str] = {}
    for row in FORMATS:
        path = files.get(row.suffixes[0])
        data, name = (
            (path.read_bytes(), path.name) if path is not None else (row.sample, f"a.{row.suffixes[0]}")
        )
        text = parse(data, name).canonical_text
        texts[row.parsed_by] = hashlib.sha256(text.encode()).hexdigest()[:16]
    assert texts == {
        "MARKDOWN 3": "b223506681aa49f2",
        "RST": "5217472c80d83c5a",
        "ADOC": "4374f87d6b648ceb",
        "TEX": "6a026f2d03b48ed1",
        "TEXT": "3e9fe39129121c60",
        "LINES": "37b128c59f1f5097",
        "CODE": "d819ef28613c211b",
        "NOTEBOOK": "f48e99bb9dafbbb1",
        "HTML 7": "0b75559376b62cce",
        "PDF 8": "407840facd3855f7",
        "DOCX 6": "71988c4d8e0803ba",
        "PPTX 5": "a72c68580fd34c0c",
        "XLSX 6": "e4b7581085a2a7e4",
        "XLSB": "a1f40adb842a4553",
        "XLS": "a1f40adb842a4553",
        "ODT 5": "71988c4d8e0803ba",
        "ODS": "59a4137b3f067bfc",
        "RTF": "549126ec90892a35",
        "EPUB": "71988c4d8e0803ba",
        "CSV 4": "03ac5ad975bea6e9",
        "JSON": "a82a102f4d318515",
        "JSON_LINES": "1abb033ea7dcc984",
        "EML 4": "3fbc83c2253e6f02",
        "MSG 4": "07763a2cb237e139",
        "TNEF": "71988c4d8e0803ba",
        "ICS": "c187a8088447d43f",
        "SUBTITLES": "812d2b6b5b984e8f",
    }


# A new format needs only one row and one file, because all code that depends on formats reads the table.
FOLDER = Path(__file__).resolve().parents[1] / "fixtures" / "toy_format"
FILE = b"TOY1\x0bThe m\xc3\xb6lder\x04rye."


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setattr(sys, "path", [str(FOLDER), *sys.path])
    return importlib.import_module("toy_format")


async def test_the_sandbox_parses_a_format_that_the_table_has(toy: ModuleType) -> None:
    pool = ParserPool(
        concurrency=2,
        limits=ParseLimits(512 * MIB, 20, 30),
        formats="toy_format:FORMATS",
        import_paths=[FOLDER],
    )
    try:
        for name, declared in (("a.toy", ""), ("", "application/x-toy"), ("", "")):
            parsed = await pool.parse(FILE, name, declared)
            assert (parsed.format, parsed.title) == ("TOY", "a" if name else "The m\xf6lder")
            data = parsed.canonical_text.encode()
            assert [data[b.byte_start : b.byte_end] for b in parsed.blocks] == [b"The m\xc3\xb6lder", b"rye."]
        with rejected(Cause.MALFORMED, match="beyond the file"):
            await pool.parse(b"TOY1\x7fcut", "a.toy")
        assert (await pool.parse(b"# Rye", "a.md")).format == "MARKDOWN"
    finally:
        await pool.close()


def test_an_upload_of_it_is_accepted_and_one_under_another_name_is_not(toy: ModuleType) -> None:
    formats: Formats = toy.FORMATS
    assert decide_format(BytesIO(FILE), "a.toy", "", formats) == "application/x-toy"
    with rejected(Cause.TYPE_MISMATCH, match="but the content is a toy document"):
        decide_format(BytesIO(FILE), "a.md", "", formats)
    with rejected(Cause.TYPE_MISMATCH, match="but the content is text"):
        decide_format(BytesIO(b"words"), "a.toy", "", formats)
    with rejected(Cause.TYPE_UNSUPPORTED):
        decide_format(BytesIO(b"words"), "a.foo", "", formats)


def test_a_format_that_was_decided_before_is_not_decided_again() -> None:
    page = b"<html><p>x</p></html>"
    assert sniff(page, "", "").format == "HTML"
    assert sniff(page, "", "", known="TEXT").format == "TEXT"


@pytest.mark.parametrize(
    "twin",
    [
        replace(HTML, suffixes=("htx",), media_types=("text/htx",)),
        replace(HTML, name="HTX", media_types=("text/htx",)),
        replace(HTML, name="HTX", suffixes=("htx",)),
    ],
)
def test_two_rows_share_nothing(twin: Format) -> None:
    with pytest.raises(ValueError, match="occurs both in the row of HTML and"):
        Formats((*FORMATS, twin))
