"""Looks up methods in the protobuf descriptors."""

from __future__ import annotations

from google.protobuf import descriptor_pool
from google.protobuf.descriptor import Descriptor


def input_type(method: str) -> Descriptor | None:
    """The type of a method's request; None for a method that no loaded file declares. method: `/package.Service/Method`."""
    try:
        found = descriptor_pool.Default().FindMethodByName(method.lstrip("/").replace("/", "."))
    except KeyError:
        return None
    return found.input_type
