"""reStructuredText, with the library docutils: as HTML, which the parser of HTML reads.

Nothing is inserted: no other files and no HTML. The text of directives and roles that docutils does not know, such as
those of Sphinx, is read as text. Lists of contents are left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, cast

from docutils import core, nodes
from docutils.parsers.rst import Directive, directives, roles
from docutils.parsers.rst.languages import en
from docutils.utils import new_document
from docutils.writers import html5_polyglot

from responsa_formats.documents import LeftOutKind
from responsa_formats.parsers import html
from responsa_formats.parsers.sniff import Original
from responsa_formats.text.canonical import ParsedDocument

# The types of these do not say enough.
_core, _directives, _roles = (cast("Any", module) for module in (core, directives, roles))
_DIRECTIVE: Final = re.compile(
    r"^[ \t]*\.\.[ \t]+(?:\|[^|\n]{1,200}\|[ \t]+)?([A-Za-z][\w.+:-]{0,60}?)::", re.MULTILINE
)
_ROLE: Final = re.compile(r":([A-Za-z][\w.+:-]{0,60}):`")
_FILE: Final = re.compile(r"^[ \t]+:(?:file|url):", re.MULTILINE)
_TARGET: Final = re.compile(r"(?<=\S)\s*<[^<>]*>\Z")
_INSERTING: Final = frozenset({"include", "literalinclude", "raw"})
_LISTING: Final = frozenset({"contents", "toctree", "index", "sectnum"})
_LABELS: Final = {"loweralpha": "a", "upperalpha": "A", "lowerroman": "i", "upperroman": "I"}
_ORDERED: Final = re.compile(rf'<ol class="({"|".join(_LABELS)})')
_SETTINGS: Final[Mapping[str, Any]] = {
    "raw_enabled": False,
    "file_insertion_enabled": False,
    "_disable_config": True,
    "report_level": 5,
    "halt_level": 5,
    "warning_stream": False,
    "stylesheet_path": "",
    "syntax_highlight": "none",
    "math_output": "LaTeX",
    "output_encoding": "unicode",
}


class _Writer(html5_polyglot.Writer):
    """Needs no template, which is a file."""

    def apply_template(self) -> str:
        writer = cast("Any", self)  # the writer sets these parts by name
        parts: Sequence[str] = [*writer.head, *writer.body_pre_docinfo, *writer.docinfo, *writer.body]
        return f"<html>{''.join(parts)}</html>"


class _AnyOption(dict[str, Any]):
    def __bool__(self) -> bool:
        return True

    def __missing__(self, name: str) -> Any:
        return directives.unchanged


class _Unknown(Directive):
    """A directive that docutils does not know: its argument and its content are text."""

    optional_arguments = 1
    final_argument_whitespace = True
    has_content = True

    def run(self) -> list[nodes.Node]:
        container = nodes.container()
        if self.arguments:
            title, _ = self.state.inline_text(self.arguments[0], self.lineno)
            container += nodes.paragraph("", "", *title)
        self.state.nested_parse(self.content, self.content_offset, container)
        return [container]


class _Silent(_Unknown):
    def run(self) -> list[nodes.Node]:
        return []


def _unknown_role(
    name: str, raw: str, text: str, *_: object, **__: object
) -> tuple[list[nodes.Node], list[nodes.Node]]:
    """The text of a role that docutils does not know, without the target of a reference."""
    return [nodes.inline(raw, _TARGET.sub("", text).lstrip("~!"))], []


def parse(original: Original) -> ParsedDocument:
    """Extract the text. Raises Rejected as the parser of HTML does."""
    text = original.text.replace("\x00", "")
    named = {name.lower() for name in _DIRECTIVE.findall(text)}
    # A parsing process reads one document, so what is registered here lasts no longer.
    for name in named:
        known = _directives.directive(name, en, new_document(""))[0] if name in en.directives else _Unknown
        # Sphinx knows more options than docutils, which does not read a directive with an option that it does not know.
        options = {"option_spec": _AnyOption(known.option_spec or {})}
        _directives.register_directive(name, type(known.__name__, (known,), options))
    for name in _INSERTING | _LISTING:
        _directives.register_directive(name, _Silent)
    for name in {name.lower() for name in _ROLE.findall(text)} - en.roles.keys():
        _roles.register_local_role(name, _unknown_role)
    # docutils calls a text without a title by its path.
    output = _core.publish_string(
        text, source_path="untitled", writer=_Writer(), settings_overrides=dict(_SETTINGS)
    )
    labelled = _ORDERED.sub(lambda match: f'<ol type="{_LABELS[match.group(1)]}" class="', str(output))
    page = replace(original)
    page.text = labelled
    inserted = sum(name.lower() in _INSERTING for name in _DIRECTIVE.findall(text)) + len(_FILE.findall(text))
    original.left_out[LeftOutKind.EMBEDDED_FILE] += inserted
    return html.parse(page)
