"""Small office documents for the table of formats."""

from __future__ import annotations

import base64
import zipfile
import zlib
from collections.abc import Mapping
from io import BytesIO
from typing import Final

_OOXML = "http://schemas.openxmlformats.org/"
_ODF = "urn:oasis:names:tc:opendocument:xmlns:"


def zipped(members: Mapping[str, str]) -> bytes:
    """A ZIP archive of these texts by name, in this order; the first is not compressed, as OpenDocument requires of its mimetype."""
    file = BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for place, (name, text) in enumerate(members.items()):
            # A fixed date, so that the bytes are the same at every start.
            info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_DEFLATED if place else zipfile.ZIP_STORED
            archive.writestr(info, text)
    return file.getvalue()


def relationships(links: Mapping[str, str]) -> str:
    """The relationships of a part: kinds by target. The ids are r1, r2 and so on."""
    rows = "".join(
        f'<Relationship Id="r{number}" Type="{_OOXML}officeDocument/2006/relationships/{kind}" Target="{target}"/>'
        for number, (target, kind) in enumerate(links.items(), 1)
    )
    return f'<Relationships xmlns="{_OOXML}package/2006/relationships">{rows}</Relationships>'


DOCX: Final = zipped(
    {
        "_rels/.rels": relationships({"word/document.xml": "officeDocument"}),
        "word/document.xml": "<w:document "
        f'xmlns:w="{_OOXML}wordprocessingml/2006/main"><w:body><w:p><w:r><w:t>Text</w:t></w:r></w:p></w:body>'
        "</w:document>",
    }
)
PPTX: Final = zipped(
    {
        "_rels/.rels": relationships({"ppt/presentation.xml": "officeDocument"}),
        "ppt/presentation.xml": f'<p:presentation xmlns:p="{_OOXML}presentationml/2006/main" '
        f'xmlns:r="{_OOXML}officeDocument/2006/relationships"><p:sldIdLst><p:sldId r:id="r1"/></p:sldIdLst></p:presentation>',
        "ppt/_rels/presentation.xml.rels": relationships({"slide.xml": "slide"}),
        "ppt/slide.xml": f'<p:sld xmlns:p="{_OOXML}presentationml/2006/main" xmlns:a="{_OOXML}drawingml/2006/main"><p:cSld><p:spTree><p:sp>'
        "<p:txBody><a:p><a:r><a:t>Text</a:t></a:r></a:p></p:txBody></p:sp></p:spTree></p:cSld></p:sld>",
    }
)
XLSX: Final = zipped(
    {
        "_rels/.rels": relationships({"xl/workbook.xml": "officeDocument"}),
        "xl/workbook.xml": f'<workbook xmlns="{_OOXML}spreadsheetml/2006/main" xmlns:r="{_OOXML}officeDocument/2006/relationships">'
        '<sheets><sheet name="Sheet1" r:id="r1"/></sheets></workbook>',
        "xl/_rels/workbook.xml.rels": relationships({"sheet.xml": "worksheet", "styles.xml": "styles"}),
        "xl/styles.xml": f'<styleSheet xmlns="{_OOXML}spreadsheetml/2006/main"><cellXfs><xf numFmtId="14"/></cellXfs></styleSheet>',
        "xl/sheet.xml": f'<worksheet xmlns="{_OOXML}spreadsheetml/2006/main"><sheetData><row><c s="0"><v>45000</v></c></row></sheetData>'
        "</worksheet>",
    }
)
ODT: Final = zipped(
    {
        "mimetype": "application/vnd.oasis.opendocument.text",
        "content.xml": f'<office:document-content xmlns:office="{_ODF}office:1.0" xmlns:text="{_ODF}text:1.0"><office:body><office:text>'
        "<text:p>Text</text:p></office:text></office:body></office:document-content>",
    }
)
MSG: Final = zlib.decompress(
    base64.b85decode(
        "c-rk&%TB^T6g}lFYN8t#u9~>>NyUf~Kw{9H3k^FL1PwkCkp`;b&lp|0^h@*uT<B-Gka}ilO@o@YM5B_P=1%XtdhVSe=kjnr{&aIU"
        "`HUVE5JtxwLd-Fy&?0tc3|!G2>zJl#51Rr06<%o}>kfrQ>Bp>ofWb#jFO+L-Be$Rz&=0DZ#}N$Faf08#CYorFJqs0itl^BY9AFMB"
        "^w((@Si-iP$#X@H@fJ}-o9{Yw#$03k4SwU0iZ_ZRN}Mq`D!#YHnN!TtOJPy=t6Ztl7yV^=8oeydZdJ^%)ub=J=8m$A#^^i$GLE@h"
        "<ndEj?Y^#elP|ZA3IYriY~2?oYJ0S2%vsw53?6o<aSbYniVbR=L4CXQwSNLp#jYg@k9&lO6hmFV!bd2s!FHdOq=Iv5SraYlnowVj"
        "`kdnEl+;w`(?t%-JAb5)`~`oDRb!8>!75<$rIE3eT$5`56{ZnVob}Wz@31HSjLcMHm2=|{S^vGgp8tr0Uzashm*;Nq+-r>G^LzM+"
        "l*J$R!7pM>xa6Ob*_S-$ulV2>v0l0GYmQ%<7yhUZ{+P%7(?0G$=7T>@OMdhH$9?c8<h}rZ0dI?Dbyf"
    )
)
"""A message with a body and an attachment. `tests/unit/ingest/outlook_files.py` writes such files."""
