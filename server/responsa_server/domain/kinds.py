"""The kinds of collections, which decide the collection that an answer comes from."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class CollectionKind(StrEnum):
    """Whose documents a collection holds. If nobody has chosen collections, only those of the kind OWN are searched, unless
    there are none; and those of the kind DOCS if none of the others supports an answer.
    """

    OWN = "own"
    DOCS = "docs"
    SAMPLE = "sample"


DOCS_COLLECTION: Final = "responsa-docs"
"""The collection into which `responsa up` loads Responsa's documentation."""
SAMPLE_COLLECTIONS: Final = (
    "aptitude",
    "aptitude-catalogues",
    "cairo",
    "chat",
    "knowledge",
    "scarb",
    "tutor",
)
"""The collections into which `responsa samples load` loads the samples of the shipped agents, and
`python -m responsa_etl.samples` the sample database."""


def kind_of(collection_id: str) -> CollectionKind:
    """The kind that a new collection gets."""
    if collection_id == DOCS_COLLECTION:
        return CollectionKind.DOCS
    return CollectionKind.SAMPLE if collection_id in SAMPLE_COLLECTIONS else CollectionKind.OWN
