"""The addresses to which hosts of MCP send people back, of those that are not on the loopback, checked on 2026-11-29. Each counts as
a whole. A scheme without a period departs from RFC 8252, 8.4."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

KNOWN_REDIRECTS: Final[Mapping[str, str]] = {
    "https://claude.ai/api/mcp/auth_callback": "Claude (support.claude.com, custom connectors)",
    "https://claude.com/api/mcp/auth_callback": "Claude (support.claude.com, custom connectors)",
    "https://chatgpt.com/connector_platform_oauth_redirect": "ChatGPT (developers.openai.com, apps SDK)",
    "https://vscode.dev/redirect": "VS Code (microsoft/vscode, fetchDynamicRegistration)",
    "https://insiders.vscode.dev/redirect": "VS Code (microsoft/vscode, fetchDynamicRegistration)",
    "https://www.cursor.com/agents/mcp/oauth/callback": "Cursor (cursor.com/docs, MCP)",
    "cursor://anysphere.cursor-mcp/oauth/callback": "Cursor (cursor.com/docs, MCP)",
}
"""Each address with its host and the source."""
