"""What a parser tells of a document besides its text."""

from __future__ import annotations

from enum import StrEnum


class LeftOutKind(StrEnum):
    """A kind of what a file has and the text of its document does not."""

    COMMENT = "comment"
    HIDDEN_SHEET = "hidden_sheet"
    HIDDEN_SLIDE = "hidden_slide"
    PICTURE = "picture"
    CHART = "chart"
    EMBEDDED_FILE = "embedded_file"
    SCANNED_PAGE = "scanned_page"
    FORMULA = "formula"
    UNPAIRED_QUOTE = "unpaired_quote"
    HIDDEN_TEXT = "hidden_text"
    NAVIGATION = "navigation"
    UNCERTAIN_TABLE = "uncertain_table"
    FOREIGN_LINE = "foreign_line"
    NUMBER_FORMAT = "number_format"
