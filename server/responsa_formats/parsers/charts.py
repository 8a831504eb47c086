"""Writes the charts of office documents (DrawingML, ISO/IEC 29500-1, section 21.2) as tables: the categories, and the
values of each series.

Both are those that the chart was last drawn with, which the file keeps, also if they come from another file.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final
from xml.etree.ElementTree import Element

from responsa_formats.containers import Archive
from responsa_formats.documents import LeftOutKind
from responsa_formats.parsers.blocks import BlockWriter
from responsa_formats.parsers.grid import GridCell, place_cells, write_table
from responsa_formats.parsers.number_formats import compile_format
from responsa_formats.parsers.office import first, is_on, read_tree, relations_of, tidy_cell, whole
from responsa_formats.parsers.sniff import Original
from responsa_formats.text.canonical import BlockKind, Place

_STORED: Final = frozenset({"c:strCache", "c:strLit", "c:numCache", "c:numLit"})
_MAX_INDEX: Final = 999_999


def write_chart(
    original: Original,
    archive: Archive,
    part: str,
    blocks: BlockWriter,
    place: Place,
    shown: Collection[str] = (),
) -> bool:
    """Write a chart, which then does not count as left out. Returns whether it has values.

    shown: the sheets that are read; of a chart whose values all stand there, only the title is written.
    """
    if part not in archive:
        return False
    tree = read_tree(archive, part)
    tables = _tables(tree)
    if not tables:
        return False
    original.left_out[LeftOutKind.CHART] -= 1
    # A workbook with the same values is embedded in documents, so that the chart can be edited.
    sources = (link.part for link in relations_of(archive, part).values() if link.kind == "package")
    original.left_out[LeftOutKind.EMBEDDED_FILE] -= sum(source in archive for source in sources)
    title = _title(first(tree, "c:chart", "c:title"))
    if title:
        blocks.write(title, BlockKind.PARAGRAPH, place=place)
    references = [node.text or "" for node in tree.iter("c:f")]
    sheets = {
        ref.rpartition("!")[0].removeprefix("'").removesuffix("'").replace("''", "'") for ref in references
    }
    if references and sheets <= set(shown):
        return True
    axis = next((_title(node.find("c:title")) for node in tree.iter("c:catAx")), "")
    for categories, series in tables.items():
        names = [GridCell(axis, header=True), *(GridCell(name, header=True) for name, _ in series)]
        rows = [
            [GridCell(category), *(GridCell(values.get(index, "")) for _, values in series)]
            for index, category in categories
        ]
        write_table(blocks, place_cells([names, *rows]), lambda _: place)
    return True


def _title(node: Element | None) -> str:
    if node is None:
        return ""
    return tidy_cell("".join(part.text or "" for part in node.iter() if part.tag in ("a:t", "c:v")))


def _tables(tree: Element) -> Mapping[tuple[tuple[int, str], ...], list[tuple[str, Mapping[int, str]]]]:
    """The names and values of the series by their categories; those of one table have the same ones."""
    since_1904 = any(is_on(node.get("val", "1")) for node in tree.iter("c:date1904"))
    tables: dict[tuple[tuple[int, str], ...], list[tuple[str, Mapping[int, str]]]] = {}
    for series in tree.iter("c:ser"):
        name = " ".join(_points(series.find("c:tx"), since_1904=since_1904).values())
        numbers = [
            _points(series.find(f"c:{name}"), since_1904=since_1904) for name in ("val", "yVal", "bubbleSize")
        ]
        categories = _points(series.find("c:cat"), since_1904=since_1904) or _points(
            series.find("c:xVal"), since_1904=since_1904
        )
        every = sorted({*categories, *(index for values in numbers for index in values)})
        if any(numbers):
            key = tuple((index, categories.get(index, "")) for index in every)
            tables.setdefault(key, []).extend((name, values) for values in numbers if values)
    return tables


def _points(node: Element | None, *, since_1904: bool) -> Mapping[int, str]:
    """The texts that a reference or a literal keeps, by index. Those of several levels are joined, the outermost first."""
    if node is None:
        return {}
    levels = [child for child in node.iter() if child.tag == "c:lvl"] or [
        child for child in node.iter() if child.tag in _STORED
    ]
    if not levels:
        return {index: tidy_cell(value.text or "") for index, value in enumerate(node.findall("c:v"))}
    texts = [_texts(level, since_1904=since_1904) for level in levels]
    joined: dict[int, str] = dict(texts[0])
    for outer in texts[1:]:
        label = ""
        for index in sorted(joined):
            label = outer.get(index, label)
            joined[index] = f"{label} {joined[index]}".strip()
    return joined


def _texts(level: Element, *, since_1904: bool) -> Mapping[int, str]:
    usual = level.find("c:formatCode")
    texts: dict[int, str] = {}
    for point in level.findall("c:pt"):
        value = point.find("c:v")
        text = tidy_cell(value.text or "") if value is not None else ""
        if level.tag.startswith("c:num"):
            code = point.get("formatCode") or (usual.text if usual is not None else None) or "General"
            text = _number(text, code, since_1904=since_1904)
        texts[whole(point.get("idx"), 0, _MAX_INDEX)] = text
    return texts


def _number(text: str, code: str, *, since_1904: bool) -> str:
    try:
        return compile_format(code, since_1904=since_1904)(float(text))
    except ValueError:
        return text
