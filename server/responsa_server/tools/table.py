"""The table of kinds of tools. A new kind needs one file in this folder and one line here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from responsa_server.system.plugins import Group, load_rows
from responsa_server.tools import http_api, knowledge_search, langchain, mcp, web_search
from responsa_server.tools.kinds import ToolKind

_OWN: Final[Mapping[str, ToolKind]] = {
    "knowledge_search": knowledge_search.KIND,
    "http_api": http_api.KIND,
    "web_search": web_search.KIND,
    "mcp": mcp.KIND,
    "langchain": langchain.KIND,
}
KINDS: Final[Mapping[str, ToolKind]] = {**_OWN, **load_rows(Group.TOOLS, ToolKind, _OWN)}
