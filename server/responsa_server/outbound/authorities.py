"""The certificate authorities that outbound connections trust: the system's, those of SSL_CERT_FILE and SSL_CERT_DIR, and those
of the setting `authorities`."""

from __future__ import annotations

import atexit
import os
import shutil
import ssl
import tempfile
from pathlib import Path
from typing import Final

import httpx2

REMEDY: Final = (
    "If the authority is the organisation's own, the operator names a file with its certificate in the setting "
    "authorities (RESPONSA_AUTHORITIES)."
)
"""What to do about a certificate that is not trusted."""
_FILE: Final = "SSL_CERT_FILE"
# The files of authorities of Debian, Red Hat, SUSE, and of Alpine and macOS.
_SYSTEM: Final = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)


def trust_also(file: Path) -> None:
    """Trust the authorities of a PEM file from now on, in this process and in those that it starts: SSL_CERT_FILE names a
    temporary file with all authorities. Raises OSError, also if the file has no certificate."""
    ssl.create_default_context(cafile=str(file))
    # Confined programs are other users, who cannot read the data folder.
    folder = Path(tempfile.mkdtemp(prefix="responsa-authorities-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    folder.chmod(0o755)
    every = folder / "authorities.pem"
    every.write_text(
        "\n".join(Path(each).read_text() for each in filter(None, (authorities_file(), str(file))))
    )
    os.environ[_FILE] = str(every)


def create_trust() -> ssl.SSLContext:
    """A context for outbound connections. Loading the certificates takes a while."""
    context = httpx2.create_ssl_context(trust_env=False)
    if file := os.environ.get(_FILE):
        context.load_verify_locations(cafile=file)
    if folder := os.environ.get("SSL_CERT_DIR"):
        context.load_verify_locations(capath=folder)
    return context


def authorities_file() -> str:
    """A file with all authorities, for git and the drivers of databases; "" if the system has none."""
    chosen = ssl.get_default_verify_paths().cafile  # SSL_CERT_FILE, if it is set
    return next((file for file in (chosen, *_SYSTEM) if file and Path(file).is_file()), "")


def is_untrusted(error: BaseException) -> bool:
    """Whether a connection failed because no known authority has issued the certificate."""
    return "CERTIFICATE_VERIFY_FAILED" in str(error)
