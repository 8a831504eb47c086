"""The order of reading of slides, layout tables and code with numbered lines, and what dialects of formats mean."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from tests.formats.office_files import pptx, slide
from tests.formats.test_more_formats import read


def box(text: str, x: int, y: int, width: int = 300, height: int = 50) -> str:
    place = f'<a:xfrm><a:off x="{x}" y="{y}"/><a:ext cx="{width}" cy="{height}"/></a:xfrm>'
    return (
        f"<p:sp><p:nvSpPr><p:cNvPr/><p:nvPr/></p:nvSpPr><p:spPr>{place}</p:spPr>"
        f"<p:txBody><a:p><a:r><a:t>{text}</a:t></a:r></a:p></p:txBody></p:sp>"
    )


def group(*shapes: str, y: int) -> str:
    place = f'<a:xfrm><a:off x="0" y="{y}"/><a:ext cx="900" cy="100"/></a:xfrm>'
    return f"<p:grpSp><p:grpSpPr>{place}</p:grpSpPr>{''.join(shapes)}</p:grpSp>"


@pytest.mark.parametrize(
    ("shapes", "order"),
    [
        ([box("d", 0, 300), box("a", 0, 0), box("c", 0, 200), box("b", 0, 100)], "abcd"),
        # Rows from left to right, also if their shapes are not quite level.
        ([box("c", 0, 100), box("b", 400, 5), box("d", 400, 95), box("a", 0, 0)], "abcd"),
        # What is read as columns in the file stays so.
        ([box("a", 0, 0), box("b", 0, 100), box("c", 400, 0), box("d", 400, 100)], "abcd"),
        # A group stays whole.
        (
            [
                group(box("d", 400, 0), box("c", 0, 0), box("e", 0, 60), y=200),
                box("b", 0, 100),
                box("a", 0, 0),
            ],
            "abdce",
        ),
        ([box("a", 0, 0), box("b", 400, 0), box("c", 0, 100)], "abc"),
    ],
)
def test_shapes_are_read_by_their_places(shapes: list[str], order: str) -> None:
    document, _ = read(pptx({"s": {"slide": slide("".join(shapes))}}), "a.pptx")
    assert document.canonical_text == "\n\n".join(["Slide 1", *order])


ROW = "<tr><td><p>One.</p></td><td><p>Two.</p></td></tr>"


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (f"<table role=presentation>{ROW}</table>", "One.\n\nTwo."),
        (f"<table>{ROW}</table>", "One. | Two."),
        ("<table><tr><td><p>One.</p></td></tr><tr><td><div>Two.</div></td></tr></table>", "One.\n\nTwo."),
        ("<table><tr><th>Name</th></tr><tr><td><p>Ann</p></td></tr></table>", "Name\n---|\nAnn"),
        ("<table><tr><td class=gutter><pre>1\n2</pre></td><td><pre>a\nb</pre></td></tr></table>", "a\nb"),
        ("<pre><span class=linenos>1</span>a\n<span class=linenos>2</span>b</pre>", "a\nb"),
        ("<p class=gutter>1 of 2</p>", "1 of 2"),
    ],
)
def test_layout_is_no_data(body: str, text: str) -> None:
    assert read(f"<html><body>{body}</body></html>".encode(), "a.html")[0].canonical_text == text


@pytest.mark.parametrize(
    ("options", "body", "text"),
    [
        ("; format=flowed; delsp=yes", "for the re \npair of\nit", "for the repair of\nit"),
        ("; format=flowed", "for the \nrepair\n> a \n> b\n>> c", "for the repair\n> a b\n>> c"),
        ("; format=flowed", "a \n-- \nAnn \nLee", "a \n-- \nAnn Lee"),
        ("; format=flowed", " >no quote \nat all", ">no quote at all"),
        ("", "a \nb", "a \nb"),
    ],
)
def test_flowed_text_of_mails(options: str, body: str, text: str) -> None:
    source = f"Subject: S\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8{options}\n\n{body}"
    assert read(source.encode(), "a.eml")[0].canonical_text == f"S\n\n{text}"


@pytest.mark.parametrize(
    ("source", "text", "left_out"),
    [
        ("At ==6 bar==. %%It was 5.%% Now.", "At ==6 bar==.  Now.", {"comment": 1}),
        ("a\n\n%%\nold\n%%\n\nb", "a\n\n\n\n\n\nb", {"comment": 1}),
        ("> [!warning]- Never open\n> text", "> Never open\n> text", {}),
        ("> [!NOTE]\n> text", "> \n> text", {}),
        (
            "See [[pumps/north|the pump]], [[Valve]] and [[Valve#Seat]].",
            "See the pump, Valve and Valve > Seat.",
            {},
        ),
        ("![[a.png|300]] b ![[Note]]", " b ", {"picture": 1, "embedded_file": 1}),
        ("[[a]] text ^ref-1\nb ^2", "a text\nb ^2", {}),
        ("`[[ -f x ]]` and `%%a%%`", "`[[ -f x ]]` and `%%a%%`", {}),
        ("```\n%% a %%\n[[b]]\n```\n[[c]]", "```\n%% a %%\n[[b]]\n```\nc", {}),
        ("100 %% sure, [[1]](x)", "100 %% sure, [[1]](x)", {}),
    ],
)
def test_marks_of_obsidian(source: str, text: str, left_out: Mapping[str, int]) -> None:
    document, counted = read(source.encode(), "a.md")
    assert (document.canonical_text, counted) == (text, left_out)
