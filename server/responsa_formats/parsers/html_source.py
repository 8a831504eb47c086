"""Makes plain elements of what HTML shows without them: declarative shadow roots, CDATA, and the storage format of Confluence."""

from __future__ import annotations

import re
from html import escape
from typing import Final

from selectolax.lexbor import LexborHTMLParser, LexborNode

SHADOW: Final = "x-shadow"
"""The element that stands for a declarative shadow root."""
_TEMPLATE: Final = re.compile(r"<template\b([^<>]*+)>|</template\b", re.IGNORECASE)
_CDATA: Final = "<![CDATA["
# HTML has no elements that close themselves, so that the next ones would be within them.
_CLOSED: Final = re.compile(r"<((?:ac|ri|at):[\w-]++)([^<>]*+)(?<=/)>")


def plain_source(source: str) -> str:
    """The source, with elements that a parser of HTML reads as they are meant."""
    parts, *sections = ([part] for part in source.split(_CDATA))
    for (section,) in sections:
        text, end, after = section.partition("]]>")
        parts += (escape(text, quote=False), after) if end else (_CDATA, section)
    source = "".join(parts)
    if "<ac:" in source or "<ri:" in source:
        source = _CLOSED.sub(r"<\1\2></\1>", source)
    if "shadowroot" not in source:
        return source
    opened: list[bool] = []
    parts.clear()
    offset = 0
    for match in _TEMPLATE.finditer(source):
        attributes = match.group(1)
        if attributes is not None:
            opened.append("shadowroot" in attributes.lower())
        shadow = opened[-1] if attributes is not None else bool(opened) and opened.pop()
        if shadow:
            tag = f"<{SHADOW}>" if attributes is not None else f"</{SHADOW}"
            parts += (source[offset : match.start()], tag)
            offset = match.end()
    return "".join((*parts, source[offset:]))


def fill_slots(tree: LexborHTMLParser) -> None:
    """Move the children of an element with a shadow root into the slots in which a browser shows them. Those without a
    slot become hidden elements."""
    for shadow in reversed(tree.css(SHADOW)):
        host = shadow.parent
        light: dict[str, list[LexborNode]] = {}
        node = host.first_child if host is not None else None
        while node is not None:
            if node.mem_id != shadow.mem_id:
                name = node.attributes.get("slot") if node.is_element_node else ""
                light.setdefault(name or "", []).append(node)
            node = node.next
        for slot in shadow.css("slot"):
            nodes = light.pop(slot.attributes.get("name") or "", [])
            if any(not node.is_text_node or node.text().strip() for node in nodes):
                while (child := slot.first_child) is not None:
                    child.remove()
                for node in nodes:
                    slot.insert_child(node)
                    node.remove()
        for nodes in light.values():
            for node in nodes:
                if node.is_element_node:
                    node.attrs["hidden"] = ""
                else:
                    node.remove()
