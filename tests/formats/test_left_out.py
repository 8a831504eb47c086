"""What a page shows is text, and what is not read is counted by its kind: HTML, embedded files, and winmail.dat."""

from __future__ import annotations

import base64
import struct
from collections.abc import Mapping

import pytest

from responsa_formats.parsers.office_samples import relationships
from tests.formats.office_files import changed, docx, pptx, shape, slide, xlsx
from tests.formats.outlook_files import tnef
from tests.formats.test_more_formats import read

LONG = "The lock is open all day. " * 12


@pytest.mark.parametrize(
    ("body", "text", "left_out"),
    [
        ("<p>a <span aria-hidden=true>b</span></p>", "a b", {}),
        # What says nothing besides what is read: an icon's name, the drawing of a formula, and a heading's own link.
        (
            "<p>a <i class=icon aria-hidden=true>home</i><span class=katex-html aria-hidden=true>x2</span></p><h2>"
            "T<a aria-hidden=true href='#t'>#</a></h2>",
            "a\n\nT",
            {},
        ),
        (
            "<p>a</p><p hidden>b</p><div style='display:none'><p>c</p></div><p hidden></p>",
            "a",
            {"hidden_text": 2},
        ),
        (
            f"<nav><a href=x>Menu</a></nav><p>{LONG}</p><footer>Imprint</footer><nav></nav>",
            LONG.strip(),
            {"navigation": 2},
        ),
        (f"<div>Around</div><main><p>{LONG}</p></main>", LONG.strip(), {"navigation": 1}),
        (
            "<p>a</p><img src=x><svg></svg><img width=1 height=1 src=t><iframe src=y></iframe><video></video>",
            "a",
            {"picture": 2, "embedded_file": 2},
        ),
        (
            "<x-a><template shadowrootmode=open><h2><slot name=t>none</slot></h2><p>In</p><slot></slot></template>"
            "<b slot=t>Title</b><p>Out</p><p slot=z>Never</p></x-a><template>Gone</template>",
            "Title\n\nIn\n\nOut",
            {"hidden_text": 1},
        ),
        (
            "<x-a><template shadowrootmode=closed><slot name=t>Fallback</slot><template>Inner</template></template></x-a><p>a</p>",
            "Fallback\n\na",
            {},
        ),
        (
            "<ac:structured-macro ac:name='code'><ac:parameter ac:name='language'>bash</ac:parameter><ac:plain-text-body>"
            "<![CDATA[a <b> &&\nc]]></ac:plain-text-body></ac:structured-macro>",
            "a <b> &&\nc",
            {},
        ),
        (
            "<p>See <ac:link><ri:page ri:content-title='Pumps' /></ac:link> and <ac:link><ri:user ri:userkey='x'/>"
            "<ac:plain-text-link-body><![CDATA[Ann & Ivo]]></ac:plain-text-link-body></ac:link>.</p><ac:image>"
            "<ri:attachment ri:filename='a.png'/></ac:image><p>End</p>",
            "See Pumps and Ann & Ivo.\n\nEnd",
            {"picture": 1},
        ),
        (
            "<ac:task-list><ac:task><ac:task-id>1</ac:task-id><ac:task-status>complete</ac:task-status><ac:task-body>"
            "Oil</ac:task-body></ac:task><ac:task><ac:task-status>incomplete</ac:task-status><ac:task-body>"
            "Wax</ac:task-body></ac:task></ac:task-list>",
            "☑ Oil\n\n☐ Wax",
            {},
        ),
        (
            "<p>Pump <ac:structured-macro ac:name='status'><ac:parameter ac:name='colour'>Red</ac:parameter>"
            "<ac:parameter ac:name='title'>STOPPED</ac:parameter></ac:structured-macro></p>",
            "Pump STOPPED",
            {},
        ),
    ],
)
def test_html(body: str, text: str, left_out: Mapping[str, int]) -> None:
    document, counted = read(f"<html><body>{body}</body></html>".encode(), "a.html")
    assert (document.canonical_text, counted) == (text, left_out)


SHEET = xlsx(
    {"Budget": "<row r='1'><c r='A1' t='inlineStr'><is><t>Ferry</t></is></c><c r='B1'><v>4120</v></c></row>"}
)
READ = "Embedded file: a.xlsx\n\nBudget\n\nFerry | 4120"


@pytest.mark.parametrize(
    ("data", "name", "folder", "rels", "text"),
    [
        (
            docx("<w:p><w:r><w:t>Text</w:t></w:r></w:p>"),
            "a.docx",
            "word",
            "word/_rels/document.xml.rels",
            "Text",
        ),
        (
            pptx({"s": {"slide": slide(shape("Text"))}}),
            "a.pptx",
            "ppt",
            "ppt/slides/_rels/s.xml.rels",
            "Slide 1\n\nText",
        ),
        (
            xlsx({"S": "<row r='1'><c r='A1' t='inlineStr'><is><t>Text</t></is></c></row>"}),
            "a.xlsx",
            "xl",
            "xl/sheets/_rels/1.xml.rels",
            "S\n\nText",
        ),
    ],
)
def test_an_embedded_workbook_is_read_as_an_attachment_is(
    data: bytes, name: str, folder: str, rels: str, text: str
) -> None:
    target = {f"/{folder}/embeddings/a.xlsx": "package", f"/{folder}/embeddings/b.xlsx": "package"}
    parts = {
        f"{folder}/embeddings/a.xlsx": SHEET,
        rels: relationships(target).encode(),
        f"{folder}/embeddings/b.xlsx": b"PK\x03\x04",
    }
    document, counted = read(changed(data, parts), name)
    # What cannot be read is counted, and so is what no part names.
    assert document.canonical_text == f"{text}\n\n{READ}\n\nEmbedded file: b.xlsx"
    assert counted == {"embedded_file": 1}


def test_winmail_dat_has_the_text_and_the_attachments() -> None:
    data = tnef(
        "Repair", "The crane is closed.\n", {"plan.csv": b"day,crane\n4 May,north\n", "x.bin": bytes(99)}
    )
    document, counted = read(data, "winmail.dat")
    assert document.canonical_text == (
        "Repair\n\nThe crane is closed.\n\nAttachment: plan.csv\n\nday: 4 May | crane: north\n\nAttachment: x.bin"
    )
    assert (document.title, counted) == ("Repair", {"embedded_file": 1})
    mail = (
        b"Subject: Fwd\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain\n\nSee below.\n"
        b"--b\nContent-Type: application/ms-tnef; name=winmail.dat\nContent-Transfer-Encoding: base64\n\n%s\n--b--\n"
    )
    document, counted = read(mail % base64.encodebytes(data), "a.eml")
    assert "The crane is closed." in document.canonical_text
    assert "day: 4 May | crane: north" in document.canonical_text


RTF = rb"{\rtf1\ansi Text of the message\par}"


def compressed(rtf: bytes, kind: bytes = b"LZFu") -> bytes:
    body = (
        b"".join(b"\0" + rtf[start : start + 8] for start in range(0, len(rtf), 8))
        if kind == b"LZFu"
        else rtf
    )
    return struct.pack("<II4sI", len(body) + 12, len(rtf), kind, 0) + body


@pytest.mark.parametrize(
    "packed",
    [
        compressed(RTF),
        compressed(RTF, b"MELA"),
        # The first bytes come from the dictionary: "{\rtf1\ansi", 11 bytes from its place 0.
        compressed(b"")[:4]
        + len(RTF).to_bytes(4, "little")
        + b"LZFu\0\0\0\0\x01\x00\x08"
        + RTF[10:17]
        + b"".join(b"\0" + RTF[start : start + 8] for start in range(17, len(RTF), 8)),
    ],
)
def test_the_text_of_winmail_dat_may_be_compressed(packed: bytes) -> None:
    document, _ = read(tnef("", "", {}, packed), "")
    assert document.canonical_text == "Text of the message"
