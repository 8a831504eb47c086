"""CSV, JSON and JSON Lines."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from responsa_formats.documents import LeftOutKind
from responsa_formats.parsers import csv_rows
from responsa_formats.parsers.sniff import sniff
from responsa_formats.parsers.table import FORMATS
from responsa_formats.rejections import Cause
from responsa_formats.text.canonical import BlockKind
from responsa_formats.text.rows import NAMED_ROWS, cell_of, line_of, split_cells
from tests.formats.office_files import parse, paths
from tests.formats.originals import rejected

DOCUMENTS = Path(__file__).resolve().parents[1] / "fixtures" / "documents"


def text_of(data: str | bytes, name: str = "a.csv") -> str:
    return parse(data.encode() if isinstance(data, str) else data, name).canonical_text


def test_each_row_of_a_csv_file_says_the_names_of_its_columns() -> None:
    document = parse((DOCUMENTS / "fares.csv").read_bytes(), "fares.csv")
    assert document.title == "fares"
    assert document.canonical_text == (
        "Linie: F\xe4hre | Preis: 4,50 | G\xfcltig: t\xe4glich\nLinie: Bus | Preis: 2,20 | G\xfcltig: werktags und samstags"
    )
    assert {block.kind for block in document.blocks} == {BlockKind.TABLE}
    assert paths(document) == ["row 2", "row 3"]


def test_the_media_types_are_those_of_the_formats() -> None:
    assert {row.media_type for row in FORMATS if row.name in ("CSV", "JSON", "JSON_LINES")} == NAMED_ROWS


@pytest.mark.parametrize(
    "cells", [[("a", "b")], [("a", "x | y\\|z"), ("", "|"), ("c | d", "e: f")], [("", "plain")]]
)
def test_cells_are_read_back(cells: list[tuple[str, str]]) -> None:
    assert split_cells(line_of(cell_of(*cell) for cell in cells)) == cells


@pytest.mark.parametrize(
    ("data", "name", "text"),
    [
        ("a;b\n1,5;2,5\n3,5;4,5\n", "a.csv", "a: 1,5 | b: 2,5\na: 3,5 | b: 4,5"),
        ("a\tb\nx, y\tz\n", "a.csv", "a: x, y | b: z"),
        ("a|b\nx|y\n", "a.csv", "a: x | b: y"),
        ("a,b\tc\nx,y\tz\n", "a.tsv", "a,b: x,y | c: z"),
        ("sep=;\r\na;b\r\n1;2\r\n", "a.csv", "a: 1 | b: 2"),
        ('a, "b, c"\nx, "y ""z"""\n', "a.csv", 'a: x | b, c: y "z"'),
        ("a,b\rx,y\r", "a.csv", "a: x | b: y"),
        ("a,a,\n1,2,3,4\n5\n", "a.csv", "a: 1 | a: 2 | 3 | 4\na: 5"),
        ("Bonn,3\nUlm,4\n", "a.csv", "Bonn | 3\nUlm | 4"),
        ("land,2001,2002\nDE,1,2\n", "a.csv", "land: DE | 2001: 1 | 2002: 2"),
        ("name\nAnn\nBo\n", "a.csv", "name: Ann\nname: Bo"),
        ("Fares of 2026\n\ncity,price\nBonn,4\n", "a.csv", "Fares of 2026\ncity: Bonn | price: 4"),
        ("city,price\n", "a.csv", "city | price"),
        ("Stop,08:00\nQuay,12\n", "a.csv", "Stop: Quay | 08:00: 12"),
        ("Answer,Yes,No\nAnn,1,2\n", "a.csv", "Answer: Ann | Yes: 1 | No: 2"),
        (
            "Sales;;\nMade;2026-04-01;\n;;\ncity;Q1;Q2\nUlm;1;2\n",
            "a.csv",
            "Sales\nMade | 2026-04-01\ncity: Ulm | Q1: 1 | Q2: 2",
        ),
        ("a,b\nx,1\ny,2\n\nc,d\nz,w\n", "a.csv", "a: x | b: 1\na: y | b: 2\nc: z | d: w"),
        ("city,price\n\nBonn,4\n\nUlm,5\n", "a.csv", "city: Bonn | price: 4\ncity: Ulm | price: 5"),
        (
            ",2025,,2026,\ncity,Plan,Sum,Plan,Sum\nUlm,1,2,3,4\n",
            "a.csv",
            "city: Ulm | 2025 Plan: 1 | 2025 Sum: 2 | 2026 Plan: 3 | 2026 Sum: 4",
        ),
        ("a,b\n\u202ex,y\n", "a.csv", "a: \u202ex | b: y"),
    ],
)
def test_how_csv_is_read(data: str, name: str, text: str) -> None:
    assert text_of(data, name) == text


@pytest.mark.parametrize(
    ("data", "text", "unpaired"),
    [
        ('a,b\n"open,2\n', 'a: "open | b: 2', 1),
        (
            'part,what,left\nV-1,"24 inch valve,7\nV-2,Check valve,31\nV-3,"Ball valve, brass",5\n',
            (
                'part: V-1 | what: "24 inch valve | left: 7\npart: V-2 | what: Check valve | left: '
                "31\npart: V-3 | what: Ball valve, brass | left: 5"
            ),
            1,
        ),
        (
            'part,what,left\nV-1,"24 inch,7\nV-2,Check,31\nV-3,Ball 3",5\nV-4,Tap,6\n',
            (
                'part: V-1 | what: "24 inch | left: 7\npart: V-2 | what: Check | left: 31\npart: V-3 | '
                'what: Ball 3" | left: 5\npart: V-4 | what: Tap | left: 6'
            ),
            3,
        ),
        ('hose;left\n"5" hose, green";7\n', 'hose: "5" hose, green" | left: 7', 1),
        ('hose,left\n5" hose,7\n', 'hose: 5" hose | left: 7', 0),
        ('who,note\r\nAnn,"Mill\r\nLane, 4" \r\n"Bo" , "" \r\n', "who: Ann | note: Mill Lane, 4\nwho: Bo", 0),
        ('a\t"b\tc"\n1\t2\n', "a: 1 | b c: 2", 0),
    ],
)
def test_a_quotation_mark_that_does_not_pair_is_a_character(data: str, text: str, unpaired: int) -> None:
    original = sniff(data.encode(), "a.csv")
    assert csv_rows.parse(original).canonical_text == text
    assert original.left_out[LeftOutKind.UNPAIRED_QUOTE] == unpaired


def test_a_long_cell_is_a_paragraph_and_a_wide_row_has_several_lines() -> None:
    long = "The ferry waits for the train. " * 20
    document = parse(f'id,note,end\n7,"{long}",x\n'.encode(), "a.csv")
    assert document.canonical_text == f"id: 7 | end: x\n\nnote: {long.strip()}"
    assert [block.kind for block in document.blocks] == [BlockKind.TABLE, BlockKind.PARAGRAPH]
    names = [f"column{number}" for number in range(200)]
    wide = text_of(f"id,{','.join(names)}\nBonn,{','.join('12345' for _ in names)}\n").splitlines()
    assert len(wide) > 1
    for line in wide:
        assert line.startswith("id: Bonn | column")
        assert len(line) <= csv_rows.LINE_BYTES


def test_json_says_each_value_with_its_path_and_objects_of_an_array_as_rows() -> None:
    document = parse((DOCUMENTS / "harbour.json").read_bytes(), "harbour.json")
    assert document.title == "harbour"
    assert document.canonical_text == (
        "name: Harbour\nberths.guest: 12\nberths.fees: day, week\n\nboats\n\nname: Ada | length: 9.50\nname: Bo | owner.name: Ann"
    )
    assert paths(document) == [
        "/name",
        "/berths/guest",
        "/berths/fees",
        "/boats",
        "/boats/0",
        "/boats/1",
    ]


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ('{"a": 1, "a": 2}', "a: 1\na: 2"),
        ("[NaN, -Infinity, true, null]", "NaN\n-Infinity\ntrue\nnull"),
        (f"[1{'0' * 250}, 1.10, 1e999]", f"1{'0' * 250}\n1.10\n1e999"),
        ('{"a": "\\ud800x\\u0000", "b": ""}', "a: \ufffdx\ufffd"),
        ('{"a: b": {"c/d~": [[1], {"e": [2, 3]}]}}', "a: b.c/d~\n\n1\ne: 2, 3"),
        ('"text"', "text"),
    ],
)
def test_how_json_is_read(data: str, text: str) -> None:
    assert text_of(data, "a.json") == text


def test_places_in_json_are_pointers() -> None:
    document = parse(b'{"a/b": {"~": 1}, "t/": [{"x": 1}]}', "a.json")
    assert paths(document) == ["/a~1b/~0", "/t~1", "/t~1/0"]


def test_lines_have_the_numbers_of_the_file() -> None:
    document = parse((DOCUMENTS / "tides.jsonl").read_bytes(), "tides.jsonl")
    assert document.canonical_text == "day: Monday | high: 04:10\nday: Tuesday | high: 05:02"
    assert paths(document) == ["line 1", "line 3"]


@pytest.mark.parametrize(
    ("data", "name", "reason", "words"),
    [
        ("[1,\n 2,]", "a.json", Cause.MALFORMED, "Line 2, column"),
        ('{"a": 1}\n{"a": }\n', "a.jsonl", Cause.MALFORMED, "Line 2, column"),
        ("[" * 100_000 + "]" * 100_000, "a.json", Cause.PARSER_LIMIT, "nested"),
        ('{"a":' * 100_000, "a.jsonl", Cause.PARSER_LIMIT, "nested"),
        ('{"a":' * 300 + "1" + "}" * 300, "a.json", Cause.PARSER_LIMIT, "nested"),
        ("[[" * 150 + "1" + "]]" * 150, "a.jsonl", Cause.PARSER_LIMIT, "nested"),
        ("{}", "a.json", Cause.EMPTY, "no values"),
        (",,\n,,\n", "a.csv", Cause.EMPTY, "no values"),
        ("," * 1_000_000, "a.csv", Cause.PARSER_LIMIT, "columns"),
        (
            json.dumps([dict.fromkeys(map(str, range(20_000)), 1)]),
            "a.json",
            Cause.PARSER_LIMIT,
            "cells",
        ),
        (b"a,b\n\xff\xfe\x00", "a.csv", Cause.TYPE_MISMATCH, "binary"),
        (b"\xff\xfe{\x00\x00\xd8", "a.json", Cause.MALFORMED, "UTF-16"),
    ],
)
def test_bad_data_gets_a_typed_error(data: str | bytes, name: str, reason: Cause, words: str) -> None:
    with rejected(reason, match=words):
        text_of(data, name)


def test_repeated_names_do_not_make_endless_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_rows, "_MAX_CHARS", 10_000)
    with rejected(Cause.PARSER_LIMIT, match="expands"):
        text_of(f"{'x' * 90},y\n" + "1,\n" * 1000)


def test_one_long_line_stays_within_time() -> None:
    assert len(text_of(b"x" * 5_000_000)) == 5_000_000
