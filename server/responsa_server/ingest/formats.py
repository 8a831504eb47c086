"""The table of the supported formats: those of `responsa_formats`, and those that other distributions add."""

from __future__ import annotations

from typing import Final

from responsa_formats.parsers.table import FORMATS as OWN
from responsa_formats.parsers.table import Format, Formats
from responsa_server.system.plugins import Group, load_rows

FORMATS: Final = Formats(
    (*OWN, *load_rows(Group.FORMATS, Format, fit=lambda added: Formats((*OWN, *added))).values())
)
