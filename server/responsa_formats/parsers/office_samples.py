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


def zip_members(members: Mapping[str, str | bytes]) -> bytes:
    """A ZIP archive of these members by name, in this order; the first is not compressed, as OpenDocument requires of its mimetype."""
    file = BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for index, (name, content) in enumerate(members.items()):
            # A fixed date, so that the bytes are the same at every start.
            info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_DEFLATED if index else zipfile.ZIP_STORED
            archive.writestr(info, content)
    return file.getvalue()


def relationships(links: Mapping[str, str]) -> str:
    """The relationships of a part: kinds by target. The ids are r1, r2 and so on."""
    rows = "".join(
        f'<Relationship Id="r{number}" Type="{_OOXML}officeDocument/2006/relationships/{kind}" Target="{target}"/>'
        for number, (target, kind) in enumerate(links.items(), 1)
    )
    return f'<Relationships xmlns="{_OOXML}package/2006/relationships">{rows}</Relationships>'


DOCX: Final = zip_members(
    {
        "_rels/.rels": relationships({"word/document.xml": "officeDocument"}),
        "word/document.xml": "<w:document "
        f'xmlns:w="{_OOXML}wordprocessingml/2006/main"><w:body><w:p><w:r><w:t>Text</w:t></w:r></w:p></w:body>'
        "</w:document>",
    }
)
PPTX: Final = zip_members(
    {
        "_rels/.rels": relationships({"ppt/presentation.xml": "officeDocument"}),
        "ppt/presentation.xml": f'<p:presentation xmlns:p="{_OOXML}presentationml/2006/main" '
        f'xmlns:r="{_OOXML}officeDocument/2006/relationships"><p:sldIdLst><p:sldId r:id="r1"/></p:sldIdLst></p:presentation>',
        "ppt/_rels/presentation.xml.rels": relationships({"slide.xml": "slide"}),
        "ppt/slide.xml": f'<p:sld xmlns:p="{_OOXML}presentationml/2006/main" xmlns:a="{_OOXML}drawingml/2006/main"><p:cSld><p:spTree><p:sp>'
        "<p:txBody><a:p><a:r><a:t>Text</a:t></a:r></a:p></p:txBody></p:sp></p:spTree></p:cSld></p:sld>",
    }
)
XLSX: Final = zip_members(
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
ODT: Final = zip_members(
    {
        "mimetype": "application/vnd.oasis.opendocument.text",
        "content.xml": f'<office:document-content xmlns:office="{_ODF}office:1.0" xmlns:text="{_ODF}text:1.0"><office:body><office:text>'
        "<text:p>Text</text:p></office:text></office:body></office:document-content>",
    }
)
ODS: Final = zip_members(
    {
        "mimetype": "application/vnd.oasis.opendocument.spreadsheet",
        "content.xml": f'<office:document-content xmlns:office="{_ODF}office:1.0" xmlns:table="{_ODF}table:1.0" '
        f'xmlns:text="{_ODF}text:1.0">'
        '<office:body><office:spreadsheet><table:table table:name="S"><table:table-row><table:table-cell><text:p>Text</text:p>'
        "</table:table-cell></table:table-row></table:table></office:spreadsheet></office:body></office:document-content>",
    }
)
EPUB: Final = zip_members(
    {
        "mimetype": "application/epub+zip",
        "META-INF/container.xml": '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
        '<rootfile full-path="b.opf"/></rootfiles></container>',
        "b.opf": '<package xmlns="http://www.idpf.org/2007/opf"><manifest><item id="a" href="a.xhtml" '
        'media-type="application/xhtml+xml"/></manifest><spine><itemref idref="a"/></spine></package>',
        "a.xhtml": "<html xmlns='http://www.w3.org/1999/xhtml'><body><p>Text</p></body></html>",
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
"""A message with a body and an attachment. `tests/formats/outlook_files.py` writes such files."""
TNEF: Final = (
    b"\x78\x9f\x3e\x22\x01\x00"  # the signature, and the key of the attachments
    b"\x01\x0c\x80\x02\x00\x05\x00\x00\x00Text\x00\x00\x00"
)
"""A message with a plain body."""
XLS: Final = zlib.decompress(
    base64.b85decode(
        "c-p&gUhu)fjZzO8(10BSGsD0CoD6J8VvIn{3F8Pb0OkMx2Z@1bnDGBmFr>g=AZ7x_8#55I05K~NgW{YWh&iBf`)@RuhArUa0A^%1R)*c"
        "YXFyR7j{64;A`I97M4S&pyp@5AAq-MNFa`tJz)}KissM_q3`~6RQUsFLSeOK%Ca^FthA^ZuR4|k<FoTsb!VUjn4-sL4iT!-)z{<n{O|p"
        "z&>qfyS7zLwX6pVsVFbYP&C>RB!U=)mkQGgc&G2{bb34;QID?=WTE@G%8Nxv8aD<f<yfssf($m50KK--HLvKf-V?#L$D{Xz^(jL72|#O"
        "MLLQ(!diK>z^70Lzm"
    )
)
XLSB: Final = zlib.decompress(
    base64.b85decode(
        "c-jl_W@Zs#fB;2?+Wy0qzCacT3j=YqbADb)YF<fvNM%84ajafNZjKF@sQ_f<727Ihl#~=$>FXCKXQbvP7VG5~q~-x-((;RP6H9>HqICU"
        "&#N_P6^i+K#0|PVtWQcLPB_K1D^z8zmwsU}O?>zSVLnn~+4v4vdIKC(~r&wPPME0IH<U3@*!+K$Lh@C^Mghars&Q{T{OnC*fSNO`PI!?"
        "Jgd7}cG+w1zh`m3eahs<foi9K`n+4Tw48<rk1PBNQj`!r0ceU{H8o2gaHB$a2jrX5SZKG)za?}e;<v+LFTFB#5$==#&IbNLBR{1F?Q_D"
        "{(VRtKhf8BdqnCOUu8w7`^1cX5WThx)&Nkw$fK<eY~K<$)|!Am#_+iX8p&{G#ln{QPXaq|ChRw3HX=DKidh9AjYVaX7<r#FeKlq0Hbgi"
        "(8wR8yf?vS$pO!+S~(Vy$50`h*^*TKsFH)82x*>4mk+4#H-$6P7&tj_6)jt!z=EA&G$NwckOpYzrMBAQE6(uYGC|<*LY6hRiUCJc`oz*"
        "9cpq@#WmR(%;Xk7GZXjOx^d>BX;~*7FQ#4OOT1oMy+GI5_wclvbJi_h6leN*^8@=QIk^TEXP$`}p6qAbksftJ*{e0HNMrFY7oPl=x4k{"
        "MmND-8=c|wEhZ(jPS!IAM6Cmb=_@TI@GAFed<o4Oej(nKZ+S=LJ=osI?$lKuZBfuqYqk&I)5(8RL2&!p0H~?AYKrDd>*5ZuR)RJO-Fl7"
        "i1-;|UYhcpf}u*_(zP*P@YR$#VD5N_NU(O}V{ICWvu!j{I+20_=W{MBKMY6`sKe}7(SY@IB5Dsj${6Bmx00NKjOB*Kh4`NKd1BLnu#fG"
        "_}i3Pu=Ehnk+zHKHdZghm5KjAVtb89n77G}kcVOGoJDpvNA<90w+}xJ1{A9%Bft?M%4iFTk6X4Wx<<2ti@|mkGoJ0OcE4H~"
    )
)
"""A sheet with a text, a number, a date and a truth value. `tests/formats/binary_sheets.py` writes such files."""
