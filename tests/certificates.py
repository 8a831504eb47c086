"""Certificates for the servers of tests."""

from __future__ import annotations

import datetime as dt

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


def certificate(name: str) -> tuple[bytes, bytes]:
    """A key and its own certificate for a host, as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    # A system may have a certificate for "localhost" of its own.
    about = {x509.NameOID.ORGANIZATION_NAME: "Tests", x509.NameOID.COMMON_NAME: name}
    who = x509.Name([x509.NameAttribute(*pair) for pair in about.items()])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(who)
        .issuer_name(who)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private, made.public_bytes(serialization.Encoding.PEM)
