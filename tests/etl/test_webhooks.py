"""Declarations of webhooks: their mistakes; and a signature that another implementation made."""

from __future__ import annotations

from pathlib import Path

import pytest

from responsa_etl.sources.webhooks import key_of, read_webhooks, sign

GOOD = """url = "https://hooks.example.org/responsa"
secret = { env = "KEY" }
tenants = ["*"]
"""


def problems(folder: Path, text: str) -> str:
    (folder / "room.toml").write_text(text)
    (found,) = read_webhooks(folder)
    assert (found.item is None) == bool(found.problems)
    return " ".join(map(str, found.problems))


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ('url = "ftp://example.org"', "begin with https://"),
        ('url = "http://hooks.example.org/"', "must be in allow_private"),
        ('url = "HTTP://hooks.example.org/"', "must be in allow_private"),
        ('url = "https://me:pw@example.org/"', "contains a user or a password"),
        ('url = "https://2130706433/"', "is a number in place of a host name"),
        ('allow_private = ["169.254.0.0/16"]', "cannot be allowed"),
        ("secret = 'whsec_x'", "secret"),
        ('events = ["source.succeded"]', "source.succeeded"),
        ("events = []", "events"),
        ("seconds = 600", "seconds"),
        ('urls = "https://example.org"', "urls"),
    ],
)
def test_a_declaration_with_a_mistake_is_refused(tmp_path: Path, wrong: str, says: str) -> None:
    key = wrong.split(" = ")[0]
    kept = [line for line in GOOD.splitlines() if not line.startswith(f"{key} =")]
    assert says in problems(tmp_path, "\n".join([*kept, wrong]))


def test_a_host_of_the_organisation_needs_no_tls(tmp_path: Path) -> None:
    inside = GOOD.replace("https://hooks.example.org", "http://hooks.intranet.example")
    assert problems(tmp_path, inside + 'allow_private = ["hooks.intranet.example"]') == ""
    assert problems(tmp_path, GOOD) == ""


def test_a_signature_is_that_of_standard_webhooks() -> None:
    # The example of the library standardwebhooks 1.0.
    key = key_of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    headers = sign(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    for short in ("whsec_c2hvcnQ=", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_?"):
        with pytest.raises(ValueError, match="at least 24 bytes") as caught:
            key_of(short)
        assert short not in str(caught.value)
