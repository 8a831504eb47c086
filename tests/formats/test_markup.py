"""reStructuredText and MDX."""

from __future__ import annotations

from pathlib import Path

import pytest

from responsa_formats.documents import LeftOutKind
from responsa_formats.parsers import markdown, rst
from responsa_formats.parsers.sniff import sniff
from responsa_formats.text.canonical import BlockKind
from tests.formats.office_files import spans


def rst_text(source: str) -> str:
    return rst.parse(sniff(source.encode(), "a.rst")).canonical_text


def test_restructured_text_keeps_its_structure() -> None:
    document = rst.parse(
        sniff(
            (
                b"Boiler\n======\n\nThe *pump* of x\\ :sup:`2`.\n\nStart\n-----\n\n3. Open it.\n4. Close it.\n\n"
                b"==== ==\nWho  E\n==== ==\nBen  4\nAnn  5\n==== ==\n\n.. code-block:: sh\n\n   run"
            ),
            "a.rst",
        )
    )
    assert (document.title, document.format) == ("Boiler", "RST")
    assert document.canonical_text == (
        "Boiler\n\nThe pump of x².\n\nStart\n\n3. Open it.\n4. Close it.\n\nWho | E\n---|---\nBen | 4\nAnn | 5\n\nrun"
    )
    kinds = [kind for kind, _, _ in spans(document)]
    assert kinds[:4] == [BlockKind.HEADING, BlockKind.PARAGRAPH, BlockKind.HEADING, BlockKind.LIST_ITEM]


@pytest.mark.parametrize(
    ("source", "text"),
    [
        (
            "See :ref:`the plan <plan>`, :doc:`other`, :kbd:`F5` and :py:func:`~a.run`.",
            "See the plan, other, F5 and a.run.",
        ),
        (".. versionadded:: 2.0\n   The *new* flag.\n\nEnd.", "2.0 The new flag.\n\nEnd."),
        (
            ".. tip::\n   :class: x\n   :odd-option: y\n\n   Unknown options.\n\nEnd.",
            "Tip\n\nUnknown options.\n\nEnd.",
        ),
        (".. grid:: 2\n   :gutter: 3\n\n   .. card:: Valve\n\n      It opens.", "2\n\nValve\n\nIt opens."),
        (".. toctree::\n   :maxdepth: 2\n\n   a\n   b\n\n.. contents::\n\nEnd.", "End."),
        (".. a comment\n\n.. |x| replace:: the sluice\n\nSee |x|.", "See the sluice."),
        ("Broken `ref and *mark.\n\n.. image::\n\nEnd.", "Broken `ref and *mark.\n\nEnd."),
    ],
)
def test_how_restructured_text_is_read(source: str, text: str) -> None:
    assert rst_text(source) == text


def test_nothing_is_inserted(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("inserted")
    page = tmp_path.as_uri() + "/secret"
    source = (
        f"Text.\n\n.. include:: {secret}\n\n.. literalinclude:: {secret}\n\n.. raw:: html\n\n   <b>inserted</b>\n\n"
        f".. csv-table::\n   :file: {secret}\n\n.. csv-table::\n   :url: {page}\n\n.. code-block::\n   :file: {secret}\n\n"
    )
    original = sniff(source.encode(), "a.rst")
    assert "inserted" not in rst.parse(original).canonical_text
    assert original.left_out[LeftOutKind.EMBEDDED_FILE] == 6


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("import A from 'a'\nimport {\n  B,\n} from 'b'\n\n# Pumps\n", "\n# Pumps\n"),
        ("# Pumps\n\nexport const x = {\n  a: 1,\n}\n\nText.\n", "# Pumps\n\n\nText.\n"),
        ('Goods for\nimport are <Badge text="new" /> checked.\n', "Goods for\nimport are  checked.\n"),
        (
            "<Tabs\n  items={[{label: 'x', v: {y: 1}}]}>\n\nThe valve opens.\n\n</Tabs>\n",
            "\n\nThe valve opens.\n\n\n",
        ),
        ("At {\"6 bar\"}{' '}{props.speed}.{/* no */}\n", "At 6 bar .\n"),
        ("`<Tabs>{a}</Tabs>` and \\{b} and a < b\n", "`<Tabs>{a}</Tabs>` and \\{b} and a < b\n"),
        ("```jsx\n<Tabs>{a}\nimport x\n```\n<A.B />x<></>\n", "```jsx\n<Tabs>{a}\nimport x\n```\nx\n"),
        ("---\ntitle: {a}\n---\nimport x\n\nText.\n", "---\ntitle: {a}\n---\n\nText.\n"),
        ("10<sup>6</sup> cells\n", "10<sup>6</sup> cells\n"),
    ],
)
def test_what_is_not_markdown_is_no_text(source: str, text: str) -> None:
    document = markdown.parse(sniff(source.encode(), "a.mdx"))
    assert (document.canonical_text, document.format) == (text, "MARKDOWN")


def test_code_after_an_admonition_stays_code() -> None:
    source = "!!! note\n    Mind the step.\n\nThen run:\n\n    make up\n"
    document = markdown.parse(sniff(source.encode(), "a.md"))
    assert (BlockKind.CODE, 0, "    make up") in spans(document)
