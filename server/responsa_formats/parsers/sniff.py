"""Decides the format of a document: first from its bytes, then from what its sender declared.

Content that is not text is recognised by its first bytes, and a ZIP archive by its members. If its format is not
supported, the content is refused. The error names the content's type, which the `filetype` library finds by magic
numbers. Text has the format that its name declares, or else the format that its media type declares. A guess never
overrides a declaration. Without a declaration, text is plain text unless its beginning matches a different format. The
names of old Office files declare nothing about text, because programs export HTML and web archives under them.
"""

from __future__ import annotations

import codecs
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import IO, TYPE_CHECKING, Final, cast

import filetype
from chardet import detect_all
from chardet.registry import REGISTRY, lookup_encoding

from responsa_formats.containers import OLE_MAGIC, ZIP_MAGIC, Archive, is_encrypted_office
from responsa_formats.documents import LeftOutKind
from responsa_formats.parsers.table import FORMATS, HTML, PLAIN_TEXT, Format, Formats
from responsa_formats.rejections import SAVE_AS_UTF8, Cause, Rejected

if TYPE_CHECKING:
    from responsa_formats.parsers.ocr import PageReader
    from responsa_formats.parsers.table import Parser

_POINTER: Final = re.compile(
    rb"version https://git-lfs\.\S+\s(?:.*\n){0,9}?oid |[./]{0,60}(?:git/)?annex/objects/"
)
_SHORTCUT: Final = re.compile(
    rb"(?:\[(?!Int)(?s:.{1,999})\n)?\[InternetShortcut\]|\[Desktop Entry\](?s:.{0,999})\nURL"
    rb"|L\x00\x00\x00\x01\x14\x02\x00|book\x00{4}mark|(?:<\?xml|bplist)(?s:.{0,600})URL[<P-_]",
    re.IGNORECASE,
)
"""How a shortcut of Windows, Linux or macOS begins."""
_STAND_IN_BYTES: Final = 4096
_UNDECLARED_TYPES = frozenset({"", "application/octet-stream", "binary/octet-stream"})
_BINARY_NAMES: dict[str, str] = {
    "application/pdf": "a PDF document",
    "application/rtf": "an RTF document",
    "application/postscript": "a PostScript document",
    "application/x-msdownload": "a Windows program",
    "application/x-executable": "an ELF program",
    "application/zip": "a ZIP archive",
    "application/gzip": "a gzip archive",
    "application/msword": "a Word document",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "a Word document",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "an Excel workbook",
    "application/vnd.openxmlformats-officedocument.presentationml.presentation": "a PowerPoint presentation",
    "application/vnd.oasis.opendocument.text": "an OpenDocument text",
    "application/vnd.oasis.opendocument.spreadsheet": "an OpenDocument spreadsheet",
    "application/vnd.oasis.opendocument.presentation": "an OpenDocument presentation",
    "application/epub+zip": "an EPUB book",
    "video/mp2t": "a video",
}
# Formats whose files are often plain ASCII. If the bytes can also be read as text, only these magic numbers
# count, because short magic numbers ("BM", "MZ", "GIF") also begin ordinary sentences.
_TEXTUAL_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"%PDF-", "application/pdf"),
    (b"{\\rtf", "application/rtf"),
    (b"%!PS", "application/postscript"),
)
_MAGIC_BYTES = 8192
_MIMETYPE_BYTES = 256
# The number of bytes of a document that are read to decide its format before the sandbox gets the document.
_HEAD_BYTES = 64 * 1024

# WHATWG Encoding Standard labels that occur in documents, with their Python codecs. This is an allow-list, because Python also
# has codecs (unicode_escape, utf_7, idna) that turn harmless bytes into something else.
CHARSETS: dict[str, str] = {
    "utf-8": "utf-8",
    "utf8": "utf-8",
    "us-ascii": "windows-1252",
    "ascii": "windows-1252",
    "iso-8859-1": "windows-1252",
    "latin1": "windows-1252",
    "iso-8859-9": "windows-1254",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "gb18030": "gb18030",
    "big5": "big5hkscs",
    "euc-jp": "euc_jp",
    "shift_jis": "cp932",
    "iso-2022-jp": "iso2022_jp",
    "euc-kr": "cp949",
    "koi8-r": "koi8_r",
    "koi8-u": "koi8_u",
    "macintosh": "mac_roman",
    "utf-16": "utf-16-le",
    "utf-16le": "utf-16-le",
    "utf-16be": "utf-16-be",
    **{f"iso-8859-{n}": f"iso8859_{n}" for n in (2, 3, 4, 5, 6, 7, 8, 10, 13, 14, 15, 16)},
    **{f"windows-{n}": f"cp{n}" for n in (874, *range(1250, 1259))},
    **{f"ibm{n}": f"cp{n}" for n in (850, 852, 866)},
}
_NUMBERS: Final = (932, 936, 949, 950, 850, 10000, 20866, 21866, 65001)
_NAMES: Final = ("shift_jis", "gb18030", "euc-kr", "big5", "ibm850", "macintosh", "koi8-r", "koi8-u", "utf-8")
_CODE_PAGES: Final = {
    **dict(zip(_NUMBERS, _NAMES, strict=True)),
    **{28590 + number: f"iso-8859-{number}" for number in range(1, 17)},
}
"""The character sets of Windows' code pages, besides those that are called windows-…"""
# The character sets that are guessed, the commoner ones first: of two that fit equally well, the first counts.
_GUESSED: Final = (
    "windows-1252",
    *(f"windows-{n}" for n in (1250, 1251, 1254, 1253, 1257, 1255, 1256, 1258, 874)),
    *("shift_jis", "gb18030", "big5", "euc-jp", "euc-kr"),
    *("iso-8859-2", "koi8-r", "koi8-u", "iso-8859-15", "iso-8859-5", "iso-8859-7"),
    *("macintosh", "ibm850", "ibm852", "ibm866"),
)
_LABELS: Final = {lookup_encoding(label): label for label in _GUESSED}
"""The labels by the library's names."""
# A guess is in doubt if another one has at least this share of its likelihood, or if it is less likely than this.
# Measured on texts of 1 to 6 sentences.
_RIVAL: Final = 0.985
_UNLIKELY: Final = 0.06
_BOMS: tuple[tuple[bytes, str], ...] = (
    # The little-endian mark of UTF-32 begins with that of UTF-16, so the longer marks come first.
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# The C0 controls that do not occur in text. Tab, LF, FF, CR and ESC (ISO-2022-JP, terminal colours) do occur.
_CONTROLS = bytes(b for b in range(32) if b not in b"\t\n\f\r\x1b") + b"\x7f"
_CONTROL_SHARE = 200
_DETECT_BYTES = 64 * 1024
_BACK_BYTES: Final = 4096
_FOREIGN_LINES: Final = 1000
_ASCII: Final = bytes(range(128))
_FEW_LETTERS: Final = 7
# Controls that no text has. Bytes that become them belong to another character set.
_C1: Final = re.compile("[\x80-\x84\x86-\x9f]")
# A word of two scripts is rare ("μm"), and common where the character set is wrong.
_MIXED: Final = re.compile("[a-z][\u0370-\u06ff]|[\u0370-\u06ff][a-z]", re.IGNORECASE)
_MIXED_SHARE: Final = 0.5

_META_CHARSET = re.compile(
    rb"<meta[^>]{0,512}?charset\s*+=\s*+(?:[\"']\s*+)?([A-Za-z0-9_:.\-]{1,40})", re.IGNORECASE
)
_TYPE_CHARSET = re.compile(r";\s*charset\s*=\s*\"?([A-Za-z0-9_:.\-]{1,40})", re.IGNORECASE)
_EXPORTED: Final = frozenset({"doc", "xls"})
_SUFFIX = re.compile(r"\.([A-Za-z0-9]{1,8})$")
# Invisible characters that str.strip() keeps.
_INVISIBLE = "\ufeff\u200b\u200c\u200d\u2060\u00ad"


@dataclass(frozen=True, slots=True)
class FormatDeclaration:
    """The sender's declaration of a format.

    format: the declared format; None if nothing declares a known format. wording: the beginning of a sentence that says
    how the format was declared.
    charset: the declared character set in lower case, or None.
    """

    format: Format | None
    wording: str
    charset: str | None


class _Undecided(Exception):
    """The sandbox must decide the format."""


def charset_of_page(page: int) -> str:
    """The label of the character set of a code page of Windows; '' if it is not known."""
    label = _CODE_PAGES.get(page, f"windows-{page}")
    return label if label in CHARSETS else ""


@dataclass(eq=False)
class Original:
    """A document as received. `sniff` decides `format`."""

    data: bytes
    name: str
    """The declared file name or path, or ''."""
    declaration: FormatDeclaration
    formats: Formats
    format: str = ""
    """The name of the format's row."""
    quick: bool = False
    """Whether no character set is guessed, because that takes long."""
    guessed_charset: str = ""
    """The character set that `text` was decoded with, if another one is nearly as likely; otherwise ''."""
    foreign: dict[int, str] = field(default_factory=dict[int, str])
    """The lines of a CSV file that are in another character set than most: where they begin in `text`, and the character
    sets with which they were read."""
    depth: int = 0
    """How many files the document is inside of."""
    left_out: Counter[LeftOutKind] = field(default_factory=Counter[LeftOutKind])
    """The number of parts that the parser has not read, by kind."""
    reader: PageReader | None = None
    """What reads scanned pages; None if OCR is turned off."""
    ocr_pages: int = 0
    """The number of pages that were read by OCR."""
    parser: Callable[[Format], Parser] = Format.load
    """Gives the parser of a format, for a file that is inside of the document."""

    @cached_property
    def text(self) -> str:
        """The decoded bytes, for the parser of a text format. A byte order mark names the encoding and is not part of the text.

        Raises Rejected if the bytes are not text, cannot be decoded, or hold no visible text.
        """
        return _decode(self)


def sniff(
    data: bytes, name: str = "", content_type: str = "", *, formats: Formats = FORMATS, known: str = ""
) -> Original:
    """Decide the format of a document.

    name: the file name or path, or ''. content_type: the media type, with or without parameters, or ''. known: the name of the format if it
    was already decided, or ''. Raises Rejected.
    """
    declaration = _declaration(name, content_type, formats)
    original = Original(data, name, declaration, formats, known)
    if not known:
        original.format = _decide(original).name
    return original


def decide_format(file: IO[bytes], name: str, content_type: str, formats: Formats) -> str:
    """The media type of an uploaded document's format, by its first 64 KiB. With this check, for example, a program
    whose name ends in .md is refused at once.

    file: the document, at its beginning. The other arguments are those of `sniff`. Returns '' if that does not decide
    the format, as for a large container, or for text in a character set that must be guessed; the sandbox then decides
    it. Raises Rejected.
    """
    head = file.read(_HEAD_BYTES + 1)
    whole = len(head) <= _HEAD_BYTES
    # The directory of a container need not be at its beginning.
    if not whole and head.startswith((ZIP_MAGIC, OLE_MAGIC)):
        return ""
    original = Original(
        head if whole else _head(head), name, _declaration(name, content_type, formats), formats, quick=True
    )
    try:
        return _decide(original).media_type
    except _Undecided:
        return ""
    except Rejected as error:
        # The beginning of a document may be blank, or may end within a character, so it cannot prove that the document
        # is empty or malformed.
        if not whole and error.reason in (Cause.EMPTY, Cause.MALFORMED):
            return ""
        raise


def _head(content: bytes) -> bytes:
    """The beginning of a document, up to the end of a line if possible. For UTF-16 it has an even number of bytes."""
    end = content.rfind(b"\n", _HEAD_BYTES // 2, _HEAD_BYTES) + 1 or _HEAD_BYTES
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return content[:_HEAD_BYTES]
    return content[:end]


def _decide(original: Original) -> Format:
    data, declaration, formats = original.data, original.declaration, original.formats
    if not data.strip():
        raise Rejected.as_empty()
    declared = declaration.format
    small = data.removeprefix(codecs.BOM_UTF8).lstrip() if len(data) < _STAND_IN_BYTES else b""
    if _POINTER.match(small):
        raise Rejected.as_stand_in(
            "The file is a pointer of Git LFS or git-annex.",
            "Fetch the file with `git lfs pull` or `git annex get`",
        )
    if _SHORTCUT.match(small):
        raise Rejected.as_stand_in("The file is a shortcut.", "Open what it leads to, save it")
    archive = _archive(original) if data.startswith(ZIP_MAGIC) else None
    if archive is not None:
        binary = next((kind for kind in formats if kind.matches_archive(archive)), None)
    else:
        binary = next((kind for kind in formats if kind.matches(data)), None)
    if binary is not None and declared in (None, binary):
        return binary
    if binary is not None:
        what = _BINARY_NAMES.get(binary.media_type, f"a {binary.display_name} document")
        raise _not_as_declared(what, original)
    if archive is not None:
        media = archive.beginning("mimetype", _MIMETYPE_BYTES).decode("ascii", "replace").strip()
        raise _not_as_declared(_BINARY_NAMES.get(media, "a ZIP archive"), original)
    if is_encrypted_office(data) and (declared is None or declared.is_binary):
        raise Rejected.as_encrypted()
    text = original.text
    if declared is not None:
        if declared.is_binary:
            raise _not_as_declared("text", original)
        return declared
    if declaration.wording:
        raise Rejected.as_unsupported(declaration.wording)
    return next((kind for kind in formats if kind.matches(text)), PLAIN_TEXT)


def _archive(original: Original) -> Archive:
    """The document as a ZIP archive. An archive that cannot be read is not what a text format declares, so then the error says that."""
    try:
        return Archive.open(original.data)
    except Rejected:
        declared = original.declaration.format
        if declared is not None and not declared.is_binary:
            raise _not_as_declared(_BINARY_NAMES["application/zip"], original) from None
        raise


def _declaration(name: str, content_type: str, formats: Formats) -> FormatDeclaration:
    media = content_type.partition(";")[0].strip().lower()
    named = _TYPE_CHARSET.search(content_type)
    charset = named.group(1).lower() if named else None
    suffix_match = _SUFFIX.search(name)
    suffix = suffix_match.group(1).lower() if suffix_match else ""
    if suffix in _EXPORTED:
        return FormatDeclaration(None, "", charset)
    if (known := formats.with_suffix(suffix)) is not None:
        return FormatDeclaration(known, f'The name ends in ".{suffix}"', charset)
    if (known := formats.with_media_type(media)) is not None:
        return FormatDeclaration(known, f'The content type is "{media}"', charset)
    if suffix:
        return FormatDeclaration(None, f'".{suffix}"', charset)
    if media not in _UNDECLARED_TYPES:
        return FormatDeclaration(None, f'"{media[:100]}"', charset)
    return FormatDeclaration(None, "", charset)


def _decode(original: Original) -> str:
    data = original.data
    if not data.strip():
        raise Rejected.as_empty()
    marked = next(((bom, codec) for bom, codec in _BOMS if data.startswith(bom)), None)
    if marked is not None:
        bom, codec = marked
        text = _decode_marked(data[len(bom) :], codec)
    else:
        _refuse_binary(original)
        text = _decode_unmarked(original)
    if text.count("\x00") > _few(len(text)):
        raise Rejected.as_mismatched(
            "The content decodes to text with NUL characters, so it is not a text document.",
        )
    if not text.strip().strip(_INVISIBLE).strip():
        raise Rejected.as_empty()
    return text.replace("\x00", "\ufffd")


def _few(length: int) -> int:
    """How many controls a text of this length may have: one is a slip, and damages only its word."""
    return max(length // _CONTROL_SHARE, 1)


def _refuse_binary(original: Original) -> None:
    data = original.data
    head = data[:_MAGIC_BYTES]
    textual = next((media for magic, media in _TEXTUAL_MAGIC if head.lstrip().startswith(magic)), None)
    if textual is not None:
        raise _not_as_declared(_BINARY_NAMES[textual], original)
    controls = len(data) - len(data.translate(None, _CONTROLS))
    nul = 0 in data
    few = controls <= _few(len(data))
    if few and not nul:
        return
    if head.startswith(OLE_MAGIC):
        raise _not_as_declared("an old Office document (such as .doc or .ppt)", original)
    media = _magic(head)
    if media is not None:
        raise _not_as_declared(_BINARY_NAMES.get(media, f'content of type "{media}"'), original)
    if nul and _looks_like_utf16(head):
        raise Rejected.as_malformed("The content looks like UTF-16 without a byte order mark.", SAVE_AS_UTF8)
    # What is valid UTF-8 is no other file by chance.
    if not few or not _is_utf8(data):
        raise _not_as_declared("binary data", original)


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _not_as_declared(what: str, original: Original) -> Rejected:
    """The error for content whose format is not supported or differs from the declared format. what: the words after "the content is"."""
    declaration = original.declaration
    if declaration.format is not None:
        return Rejected.as_mismatched(
            f"{declaration.wording} ({declaration.format.display_name}), but the content is {what}."
        )
    return Rejected.as_unsupported(f"The content is {what}, which")


def _magic(head: bytes) -> str | None:
    """The media type that the magic numbers show. (The `filetype` library has no type annotations.)"""
    if head[::188][:5] == b"GGGGG":  # an MPEG transport stream; its suffix is that of TypeScript
        return "video/mp2t"
    guess = cast("Callable[[bytes], str | None]", filetype.guess_mime)  # pyright: ignore[reportUnknownMemberType]
    return guess(head)


def _looks_like_utf16(head: bytes) -> bool:
    """Whether every other byte is NUL, as in Latin text encoded as UTF-16."""
    even, odd = head[0::2].count(0), head[1::2].count(0)
    larger, least = max(even, odd), min(even, odd)
    return larger * 2 > len(head) // 2 and least * 20 < larger


def _decode_marked(data: bytes, codec: str) -> str:
    try:
        return data.decode(codec)
    except UnicodeDecodeError as error:
        raise _undecodable(codec, error) from None


def _decode_unmarked(original: Original) -> str:
    data, declaration = original.data, original.declaration
    label = declaration.charset
    if label is None and declaration.format in (HTML, None):
        meta = _META_CHARSET.search(data, 0, 4096)
        if meta is not None:
            label = meta.group(1).decode("ascii").lower()
            # HTML standard, "determining the character encoding": if a meta element could be read as ASCII, the document is not UTF-16.
            label = "utf-8" if label.startswith("utf-16") else label
    codec = CHARSETS.get(label) if label is not None else None
    if label is not None and codec is None:
        raise Rejected.as_malformed(f'The declared character set "{label}" is not known.', SAVE_AS_UTF8)
    # Valid UTF-8 with non-ASCII characters is UTF-8, whatever a web server's default header says. Text in ISO-2022-JP
    # or UTF-16 may consist of ASCII bytes alone, so only the declaration can identify these encodings.
    order = [codec, "utf-8"] if codec in ("iso2022_jp", "utf-16-le", "utf-16-be") else ["utf-8", codec]
    failure: UnicodeDecodeError | None = None
    for candidate in order:
        if candidate is None:
            continue
        try:
            return data.decode(candidate)
        except UnicodeDecodeError as error:
            failure = error
    assert failure is not None
    if label is not None:
        raise _undecodable(label, failure)
    return _detect(original, failure)


def _detect(original: Original, error: UnicodeDecodeError) -> str:
    """Decode an undeclared legacy encoding. It is guessed from the bytes around the first byte that is not UTF-8."""
    if original.quick:
        raise _Undecided
    data = original.data
    letters = len(data.translate(None, _ASCII))
    valid = len(data.decode(errors="ignore").encode()) - (len(data) - letters)
    declared = original.declaration.format
    if declared is not None and declared.name == "CSV" and (text := _by_lines(original)) is not None:
        return text
    if valid * 2 > letters:
        raise _undecodable(
            "utf-8", error
        ) from None  # damaged UTF-8: as another encoding, its other letters would be wrong
    back = max(0, error.start - _BACK_BYTES)
    start = max(back, data.rfind(b"\n", back, error.start) + 1)
    sample = data[start : start + _DETECT_BYTES]
    candidates = _likely(sample)
    # In so few letters, hardly any guess is better than the default of the HTML standard, which is by far the commonest.
    few = letters <= _FEW_LETTERS and letters * 4 <= len(data)
    best, guess = candidates[0] if candidates else (0.0, "")
    if few and guess != _GUESSED[0] and best < _UNLIKELY:
        candidates.insert(0, (0.0, _GUESSED[0]))
    for likelihood, label in candidates:
        try:
            text = data.decode(CHARSETS[label])
        except UnicodeDecodeError:
            continue
        shown = sample.decode(CHARSETS[label], "ignore")
        rivals = (name for name, other in candidates if sample.decode(CHARSETS[other], "ignore") != shown)
        if likelihood < _UNLIKELY or next(rivals, 0.0) > _RIVAL * likelihood:
            original.guessed_charset = label
        return text
    raise _undecodable("utf-8", error) from None


def _by_lines(original: Original) -> str | None:
    """The text of a file of which few lines are in another character set than the others; None if the lines do not differ."""
    lines = original.data.split(b"\n")
    accented = [line for line in lines if not line.isascii()]
    utf8 = [line for line in accented if _is_utf8(line)]
    foreign = len(accented) - len(utf8) if len(utf8) * 2 > len(accented) else len(utf8)
    if not 0 < foreign <= _FOREIGN_LINES or foreign == len(accented):
        return None
    mostly = len(utf8) > foreign
    likely = _likely(b"\n".join(line for line in accented if not _is_utf8(line))[:_DETECT_BYTES])
    label = likely[0][1] if likely and likely[0][0] >= _UNLIKELY else _GUESSED[0]
    offset = 0
    parts: list[str] = []
    for line in lines:
        valid = _is_utf8(line)
        parts.append(line.decode("utf-8" if valid else CHARSETS[label], "replace"))
        if valid is not mostly and not line.isascii():
            original.foreign[offset] = "utf-8" if valid else label
        offset += len(parts[-1]) + 1
    return "\n".join(parts)


def _likely(sample: bytes) -> list[tuple[float, str]]:
    """The character sets that a sample may have, the likeliest first, each with its likelihood from 0 to 1."""
    candidates: list[tuple[float, str]] = []
    for detection in detect_all(
        sample, ignore_threshold=True, compat_names=False, include_encodings=_GUESSED
    ):
        label = _LABELS.get(detection["encoding"] or "")
        text = "" if label is None else sample.decode(CHARSETS[label], "ignore")
        if label is not None and not _C1.search(text):
            share = _MIXED_SHARE if _MIXED.search(text) else 1.0
            candidates.append((round(share * detection["confidence"], 3), label))
    return sorted(candidates, key=lambda candidate: (-candidate[0], _GUESSED.index(candidate[1])))


def _undecodable(charset: str, error: UnicodeDecodeError) -> Rejected:
    return Rejected.as_malformed(f"Byte {error.start} is not valid {charset.upper()}.", SAVE_AS_UTF8)


def load_codecs() -> None:
    """Load every codec that decoding may use. Python imports a codec at its first use, but a confined process cannot import anything."""
    for name in (
        *CHARSETS.values(),
        *(codec for _, codec in _BOMS),
        *REGISTRY,
        "cp037",
    ):  # chardet tries cp037
        codecs.lookup(name)
