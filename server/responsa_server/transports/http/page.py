"""The page and `/docs`: serves the files of their build, and nothing else from the disk."""

from __future__ import annotations

import os
import re
import stat
from html import escape
from pathlib import Path

from anyio import to_thread
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response

from responsa_server.calls.negotiation import negotiate
from responsa_server.transports.http.security_headers import DOCS_POLICY

BUILD_COMMAND = "npm ci && npm run build --workspace @responsa/web"

# A path has at most one folder, and no name starts with a dot, so no path can leave the root.
_NAME = r"[A-Za-z0-9_][A-Za-z0-9._-]*"
_FILE = re.compile(rf"(?:(?P<folder>assets)/)?(?P<name>{_NAME})")

_DOCS = "docs.html"
_PAGES = {"": "index.html", "docs": _DOCS}

NAME = "Responsa"
"""What the page calls the installation unless a setting gives another name."""
_ICON = "icon.svg"
# A mark is shown as an image. Opened by its own address, it must run nothing either.
_MARK_POLICY = "default-src 'none'; style-src 'unsafe-inline'; sandbox"

MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".map": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".webmanifest": "application/manifest+json",
    ".webp": "image/webp",
    ".woff2": "font/woff2",
}
"""Media types by file ending. The host's own tables are not used, so that the types are the same everywhere."""

_PACKED = frozenset({".css", ".js"})
"""The endings of the files beside which the build may write compressed copies."""
_COPIES = {"br": ".br", "gzip": ".gz"}
"""The endings of the copies in each encoding, the smallest copy first."""
_WIDGET = "widget.js"


class StaticPage:
    """Serves the folder `root`. `/` is index.html, and `/docs` is docs.html. A file in `/assets/` never changes under
    the same name. All other files are in the root."""

    def __init__(self, root: Path, name: str = NAME, mark: Path | None = None) -> None:
        """name: the title of the page. mark: a file that is served in place of the page's own mark, under the same address."""
        self._root = root
        self._name = name
        self._mark = None if mark is None else (mark.read_bytes(), MEDIA_TYPES[mark.suffix.lower()])

    async def get(self, request: Request) -> Response:
        """Serve one file to GET and HEAD.

        Raises:
            HTTPException: there is no such file (404).
        """
        path = str(request.path_params["path"])
        match = _FILE.fullmatch(_PAGES.get(path, path))
        media_type = MEDIA_TYPES.get(Path(match["name"]).suffix) if match else None
        if match is None or media_type is None:
            raise HTTPException(404)
        if match["name"] == _ICON and self._mark is not None:
            headers = {"cache-control": "no-cache", "content-security-policy": _MARK_POLICY}
            return Response(self._mark[0], media_type=self._mark[1], headers=headers)
        file = self._root / (match["folder"] or "") / match["name"]
        stat_result = await to_thread.run_sync(_regular_file, file)
        if stat_result is None:
            if match["name"] == "index.html":
                return _not_built()
            raise HTTPException(404)
        if match["folder"] == "assets":
            caching = "public, max-age=31536000, immutable"
        elif match["name"] == "index.html":
            caching = "no-store"
        else:
            caching = "no-cache"
        headers = {"cache-control": caching}
        if Path(match["name"]).suffix in _PACKED:
            headers["vary"] = "accept-encoding"
            for encoding in negotiate(request.headers.getlist("accept-encoding"), list(_COPIES)):
                copy = file.with_name(f"{match['name']}{_COPIES[encoding]}")
                if (found_copy := await to_thread.run_sync(_regular_file, copy)) is not None:
                    file, stat_result = copy, found_copy
                    headers["content-encoding"] = encoding
                    break
        if match["name"] == _WIDGET:
            headers["cross-origin-resource-policy"] = "cross-origin"
        if match["name"] == _DOCS:
            headers["content-security-policy"] = DOCS_POLICY
        if match["name"] == "index.html" and (self._name, self._mark) != (NAME, None):
            text = await to_thread.run_sync(lambda: self._put_name(file.read_text("utf-8")))
            return Response(text, media_type=media_type, headers=headers)
        return FileResponse(file, media_type=media_type, stat_result=stat_result, headers=headers)

    def _put_name(self, page: str) -> str:
        """The page with the installation's name and the type of its mark."""
        page = page.replace(f"<title>{NAME}</title>", f"<title>{escape(self._name)}</title>")
        return page if self._mark is None else page.replace(f'"{MEDIA_TYPES[".svg"]}"', f'"{self._mark[1]}"')


def _regular_file(path: Path) -> os.stat_result | None:
    """The file's status; None if the file is missing or is a link, which could lead anywhere."""
    try:
        details = path.lstat()
    except OSError:
        return None
    return details if stat.S_ISREG(details.st_mode) else None


def _not_built() -> Response:
    text = (
        "The page is not built yet. Build it with:\n\n"
        f"    {BUILD_COMMAND}\n\n"
        "and load this address again. gRPC, REST and the command line work without it.\n"
    )
    return PlainTextResponse(text, status_code=503, headers={"cache-control": "no-store"})
