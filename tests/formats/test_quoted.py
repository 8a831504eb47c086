"""What a reply quotes is a section below its own words that says whose it is and when; forwarded messages stay whole.
`replies.txt` has messages of the common programs, in which OWN and OLD stand for the words of the two people."""

from __future__ import annotations

from email.message import EmailMessage
from pathlib import Path

import pytest

from responsa_formats.parsers import eml
from responsa_formats.parsers.sniff import sniff
from responsa_formats.text.canonical import BlockKind, ParsedDocument

OWN = "The drill moves to Tuesday."
OLD = "The drill takes place on Monday."
SAMPLES = (Path(__file__).parent / "replies.txt").read_text(encoding="utf-8").split("%% ")[1:]


def read(body: str, subject: str = "Re: Drill", kind: str = "plain", **headers: str) -> ParsedDocument:
    message = EmailMessage()
    message["From"], message["Subject"] = "Mara Feld <mara@nordkai.example>", subject
    for name, value in headers.items():
        message[name.replace("_", "-")] = value
    message.set_content(body, subtype=kind)
    return eml.parse(sniff(message.as_bytes(), "a.eml"))


def sections(document: ParsedDocument) -> list[str]:
    return [block.title for block in document.blocks if block.kind is BlockKind.HEADING and block.level == 2]


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.partition("\n")[0])
def test_messages_of_the_common_programs(sample: str) -> None:
    head, _, body = sample.partition("\n")
    options = {word: value for word, _, value in (part.partition(" ") for part in head.split(" | ")[1:])}
    document = read(
        body.replace("OWN", OWN).replace("OLD", OLD),
        options.get("subject", "Re: Drill"),
        "html" if "html" in options else "plain",
    )
    text = document.canonical_text
    if "whole" in options:
        assert not sections(document)
        assert OWN in text
        assert OLD in text
        return
    [quoted] = sections(document)
    assert quoted.startswith("Quoted: ")
    assert "Piet Lund" in quoted
    assert options.get("when", "2026") in quoted
    own, _, old = text.partition(quoted)
    assert own.endswith(f"{OWN}\n\n") or f"{OWN}\n\nYes." in own
    assert OLD not in own
    assert OLD in old


def test_each_quoted_message_is_a_section_with_its_lists_and_tables() -> None:
    wrote = "On 9 Nov 2026 at 08:30, {} &lt;a@nordkai.example&gt; wrote:"
    inner = "<ul><li>gate one</ul><table><tr><th>a<th>b<tr><td>1<td>2</table>"
    html = (
        f"<p>Own.</p><p>{wrote.format('Ben')}</p><blockquote><p>Second.</p>{inner}"
        f"<p>{wrote.format('Ann')}</p><blockquote><p>First.</p></blockquote></blockquote>"
    )
    document = read(html, "Drill", "html", In_Reply_To="<a@nordkai.example>")
    ben, ann = sections(document)
    assert ("Ben" in ben, "Ann" in ann) == (True, True)
    _, _, text = document.canonical_text.partition("Own.\n\n")
    assert text == f"{ben}\n\nSecond.\n\n- gate one\n\na | b\n---|---\n1 | 2\n\n{ann}\n\nFirst."


def test_own_words_between_what_is_quoted_stay_in_order() -> None:
    document = read("> Which gate?\n\nGate one.\n\n> At which hour?\n\nAt noon.\n")
    assert document.canonical_text.endswith(
        "Gate one.\n\nAt noon.\n\nQuoted\n\nWhich gate?\n\nAt which hour?"
    )
