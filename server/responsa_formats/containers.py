"""The containers of office documents: ZIP archives, and OLE files (the container of old and of encrypted Office documents).

An archive is checked before anything is unpacked: its number of members, their sizes, and how far they expand.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import Final

from responsa_formats.rejections import Rejected

# Defined here and not in the settings, because the zygote imports this module and must not load pydantic.
MIB: Final = 1024 * 1024

ZIP_MAGIC: Final = b"PK\x03\x04"
OLE_MAGIC: Final = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
# The name of the stream that holds an encrypted Office document ([MS-OFFCRYPTO], section 2.3.4.4), as OLE directories write names.
_ENCRYPTED_PACKAGE: Final = "EncryptedPackage".encode("utf-16-le")

MAX_MEMBERS: Final = 10_000
MAX_MEMBER_BYTES: Final = 256 * MIB
MAX_UNPACKED_BYTES: Final = 1024 * MIB
# Deflate reaches 1,032 to 1. Large sheets of equal rows reach 100 to 1. Below RATIO_EXEMPT_BYTES the ratio does not matter.
MAX_RATIO: Final = 250
RATIO_EXEMPT_BYTES: Final = 16 * MIB
_PIECE_BYTES: Final = 64 * 1024
_CENTRAL_ENTRY: Final = b"PK\x01\x02"
_ENCRYPTED_FLAG: Final = 0x1
_DAMAGED: Final = "The file is a damaged ZIP archive; it may be cut off."
_LIBRARY_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    LookupError,
    NotImplementedError,
    OverflowError,
    ValueError,
)


@dataclass(eq=False)
class Archive:
    """A ZIP archive in memory. Names of members have forward slashes; upper and lower case are the same, as in OPC (ISO/IEC 29500-2)."""

    members: dict[str, zipfile.ZipInfo]
    """The members by name in lower case. Of several members with one name, the last counts."""
    _file: zipfile.ZipFile

    @classmethod
    def open(cls, data: bytes) -> Archive:
        """Read the directory of an archive. Raises Rejected if the archive is damaged, or larger than the limits of this module."""
        # Each member has an entry of the directory, so this count is never too small. It costs less than reading a huge directory.
        if data.count(_CENTRAL_ENTRY) > MAX_MEMBERS:
            raise Rejected.as_over_limit(f"The file is a ZIP archive of more than {MAX_MEMBERS:,} members.")
        try:
            file = zipfile.ZipFile(BytesIO(data))
            members = {
                member.filename.replace("\\", "/").lstrip("/").lower(): member
                for member in file.infolist()
                if not member.is_dir()  # fails for a member without a name
            }
        except _LIBRARY_ERRORS:
            raise Rejected.as_malformed(_DAMAGED) from None
        unpacked = sum(member.file_size for member in members.values())
        if unpacked > MAX_UNPACKED_BYTES or unpacked > max(RATIO_EXEMPT_BYTES, MAX_RATIO * len(data)):
            raise _expands()
        return cls(members, file)

    def __contains__(self, name: str) -> bool:
        return name.lower() in self.members

    def pieces(self, name: str) -> Iterator[bytes]:
        """Unpack a member piece by piece.

        Raises Rejected if the member is missing, encrypted or damaged, or expands too far.
        """
        member = self.members.get(name.lower())
        if member is None:
            raise Rejected.as_malformed(f'The part "{printable(name)}" of the document is missing.')
        if member.flag_bits & _ENCRYPTED_FLAG:
            raise Rejected.as_encrypted()
        size = member.file_size
        if size > MAX_MEMBER_BYTES or size > max(RATIO_EXEMPT_BYTES, MAX_RATIO * member.compress_size):
            raise _expands()
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise Rejected.as_malformed(
                f'The part "{printable(name)}" of the document is packed in a way that office documents do not use.'
            )
        try:
            # Reading stops at the declared size, and the checksum fails if the member goes on.
            with self._file.open(member) as opened:
                while piece := opened.read(_PIECE_BYTES):
                    yield piece
        except _LIBRARY_ERRORS:
            raise Rejected.as_malformed(_DAMAGED) from None

    def read(self, name: str) -> bytes:
        """A whole member. Raises as `pieces` does."""
        return b"".join(self.pieces(name))

    def beginning(self, name: str, size: int) -> bytes:
        """The first bytes of a member, at most `size`; b'' if the member is missing or cannot be read."""
        try:
            return next(self.pieces(name), b"")[:size]
        except Rejected:
            return b""


def is_encrypted_office(data: bytes) -> bool:
    """Whether an OLE file holds an encrypted DOCX, PPTX or XLSX document."""
    return data.startswith(OLE_MAGIC) and _ENCRYPTED_PACKAGE in data


def printable(name: str) -> str:
    """The name of a member for an error message, which must be short and printable."""
    return "".join(char if char.isprintable() else "\ufffd" for char in name[:100])


def _expands() -> Rejected:
    return Rejected.as_over_limit("The file is a ZIP archive that expands too far to be unpacked.")
