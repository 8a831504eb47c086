"""What parsers say of documents, in the words of the API."""

from __future__ import annotations

import responsa_contract
from responsa_formats.documents import LeftOutKind
from responsa_formats.rejections import Cause, Rejected
from responsa_server.domain.errors import DOCUMENT_REASONS
from responsa_server.ingest.parsing import document_error


def test_each_reason_of_a_parser_is_one_of_the_api() -> None:
    errors = [document_error(Rejected(reason, "No."), "a.md") for reason in Cause]
    assert {error.reason for error in errors} == DOCUMENT_REASONS
    assert {error.metadata["source_key"] for error in errors} == {"a.md"}


def test_each_kind_that_a_parser_leaves_out_is_one_of_the_api() -> None:
    assert list(LeftOutKind) == list(responsa_contract.LeftOutKind)
