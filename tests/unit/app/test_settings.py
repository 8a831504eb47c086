from __future__ import annotations

import re
from ipaddress import ip_network
from operator import attrgetter
from pathlib import Path
from uuid import UUID

import pytest

from responsa_server.app.settings import Environment, SettingsError, load, unknown_variables, without_secrets
from responsa_server.domain.addresses import hosts_of
from responsa_server.system.instance import CHECKOUT
from tools import metrics_reference, settings_reference


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    import os

    for name in list(os.environ):
        if name.startswith("RESPONSA_") or name.endswith(("DATABASE_URL", "_API_KEY", "REDIS_URL")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("RESPONSA_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of secret files."""
    folder = tmp_path / "secrets"
    folder.mkdir()
    monkeypatch.setenv("RESPONSA_SECRETS_DIR", str(folder))
    return folder


def test_the_environment_beats_a_secret_file_which_beats_the_toml_file_which_beats_the_default(
    tmp_path: Path, secrets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert load().port == 8080
    (tmp_path / "responsa.toml").write_text("port = 8081\n[turns]\nmax_running = 3\n")
    assert (load().port, load().turns.max_running) == (8081, 3)
    (secrets / "responsa_port").write_text("8082\n")
    assert load().port == 8082
    monkeypatch.setenv("RESPONSA_PORT", "8083")
    assert load().port == 8083


def test_a_database_url_comes_from_the_environment_or_a_secret_file_and_never_shows(secrets: Path) -> None:
    (secrets / "DATABASE_URL").write_text("postgresql://u:hidden-one@h/d\n")
    settings = load()
    assert settings.database_url is not None
    assert settings.database_url.get_secret_value() == "postgresql://u:hidden-one@h/d"
    assert "hidden-one" not in repr(settings)


KEY = "sk-verysecret"


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("RESPONSA_PORT", "70000", "port"),
        ("RESPONSA_PORT", "http", "port"),
        ("RESPONSA_TURNS__LEASE_SECONDS", "0", "turns.lease_seconds"),
        ("RESPONSA_ENVIRONMENT", "live", "environment"),
        ("RESPONSA_SECRETS_DIR", "/none", r"RESPONSA_SECRETS_DIR names .*none, which is not a folder"),
        ("RESPONSA_CONFIG", "/none.toml", r"none\.toml"),
        ("RESPONSA_MODELS__VENDORS__OPENAI__API_KYE", KEY, "models.vendors.openai.api_kye"),
        ("RESPONSA_MODELS__SERVERS__LAB__API_KEY", KEY, "models.servers.lab.url"),
        ("OPENAI_API_KEY", f"{KEY}…", r"models\.vendors\.openai\.api_key: must have only visible ASCII"),
        (
            "RESPONSA_MODELS__VENDORS__OPENAI__URL",
            f"https://user:{KEY}@example.org/v1",
            "models.vendors.openai.url",
        ),
        ("RESPONSA_MODELS__VENDORS__OPENAI", f'{{"api_key": "{KEY}"', "models"),
        ("RESPONSA_MODELS", f'{{"openai": "{KEY}"}}', "models.openai"),
        ("RESPONSA_AGENTS__KEY", KEY, "agents.key"),
        ("RESPONSA_DATABASE_POOL", f"postgresql://u:{KEY}@h/d", "database_pool"),
    ],
)
def test_a_wrong_setting_is_named_and_a_key_never_shown(
    name: str, value: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=message) as error:
        load()
    assert KEY not in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("port = = 1", "cannot be read"),
        ("foo = 1", "foo"),
        ("[turns]\nlease_secs = 6", r"turns\.lease_secs"),
        (f'[models.vendors.openai]\nkey = "{KEY}"\n', r"models\.vendors\.openai\.key"),
        (f'models.vendors.openai.api_key = "{KEY}\n', "cannot be read"),
    ],
)
def test_what_is_wrong_in_the_settings_file_is_named_and_a_key_never_shown(
    text: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / "responsa.toml").write_text(text)
    with pytest.raises(SettingsError, match=message) as error:
        load()
    assert KEY not in str(error.value)


def test_lists_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESPONSA_ALLOWED_HOSTS", "a.example.org, b.example.org:8443")
    assert load().allowed_hosts == ("a.example.org", "b.example.org:8443")


def test_the_key_of_a_widget_has_origins(monkeypatch: pytest.MonkeyPatch) -> None:
    key = UUID("0190f3a2-0000-7000-8000-000000000001")
    origins = ("https://a.example", "https://b.example")
    monkeypatch.setenv("RESPONSA_WIDGET_KEYS", ",".join(f"apiKeys/{key}={origin}" for origin in origins))
    monkeypatch.setenv("RESPONSA_ALLOWED_ORIGINS", "https://c.example")
    assert load().widgets == {key: frozenset(origins)}
    assert load().origins == ("https://c.example", *origins)
    monkeypatch.setenv("RESPONSA_WIDGET_KEYS", f"apiKeys/{key}")
    with pytest.raises(SettingsError, match="with its origin"):
        load()


def test_trusted_proxies_are_addresses_and_networks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    networks = (ip_network("127.0.0.1"), ip_network("10.0.0.0/24"), ip_network("2001:db8::/64"))
    monkeypatch.setenv("RESPONSA_TRUSTED_PROXIES", "127.0.0.1, 10.0.0.0/24,2001:db8::/64")
    assert load().trusted_proxies == networks
    monkeypatch.delenv("RESPONSA_TRUSTED_PROXIES")
    assert load().trusted_proxies == ()
    written = 'trusted_proxies = ["127.0.0.1/32", "10.0.0.0/24", "2001:db8::/64"]\n'
    (tmp_path / "responsa.toml").write_text(written)
    assert load().trusted_proxies == networks


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("proxy.example.org", "write an address or a network in CIDR notation"),
        ("10.0.0.0/33", "write an address or a network in CIDR notation"),
        ("10.0.0.5:8080", "write an address or a network in CIDR notation"),
        ("10.0.0.5/24", r"write 10\.0\.0\.0/24 or 10\.0\.0\.5"),
        ("2001:db8::5/64", "write 2001:db8::/64 or 2001:db8::5"),
        ("0.0.0.0/0", "name only the networks of the proxies"),
        ("::/0", "name only the networks of the proxies"),
    ],
)
def test_a_wrong_proxy_is_named_with_the_remedy(
    text: str, remedy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "responsa.toml").write_text(f'trusted_proxies = ["192.0.2.1", "{text}"]\n')
    with pytest.raises(SettingsError, match=rf"trusted_proxies: '{text}' .*{remedy}"):
        load()
    monkeypatch.setenv("RESPONSA_TRUSTED_PROXIES", f"192.0.2.1,{text}")
    with pytest.raises(SettingsError, match=rf"trusted_proxies: '{text}' .*{remedy}"):
        load()


def test_reflection_is_off_in_production_unless_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load().serves_reflection
    monkeypatch.setenv("RESPONSA_ENVIRONMENT", "production")
    assert not load().serves_reflection
    monkeypatch.setenv("RESPONSA_REFLECTION", "true")
    assert load().serves_reflection


@pytest.mark.parametrize("name", ["models.scripted", "testing.agent"])
def test_what_is_for_tests_is_not_for_production(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"RESPONSA_{name.replace('.', '__').upper()}", "true")
    assert attrgetter(name)(load())
    monkeypatch.setenv("RESPONSA_ENVIRONMENT", "production")
    with pytest.raises(SettingsError, match=f"{re.escape(name)} is not for production"):
        load()


@pytest.mark.parametrize("environment", list(Environment))
def test_the_templates_load(environment: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESPONSA_CONFIG", str(CHECKOUT / "deploy" / "settings" / f"{environment}.toml"))
    settings = load()
    assert settings.environment is environment
    assert (settings.docs is None) == (environment is Environment.PRODUCTION)
    behind_tls = environment is not Environment.DEVELOPMENT
    assert settings.sessions.secure_cookie == bool(settings.trusted_proxies) == behind_tls
    # Browsers leave out the port 443.
    ports = [":" in host for host in hosts_of(settings.port, settings.allowed_hosts)]
    assert (False in ports) == behind_tls


def test_the_references_are_up_to_date() -> None:
    assert settings_reference.PAGE.read_text("utf-8") == settings_reference.page(), "run `make generate`"
    metrics = metrics_reference.PAGE.read_text("utf-8")
    assert metrics == metrics_reference.page(metrics), "run `make generate`"


def test_vendors_keys_have_their_own_names_too_and_never_show(
    secrets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (secrets / "ANTHROPIC_API_KEY").write_text(f"{KEY}-a\n")
    monkeypatch.setenv("OPENAI_API_KEY", f"{KEY}-o")
    monkeypatch.setenv("COHERE_API_KEY", f"{KEY}-c")
    monkeypatch.setenv("GEMINI_API_KEY", f"{KEY}-general")
    monkeypatch.setenv("RESPONSA_MODELS__VENDORS__GEMINI__API_KEY", f"{KEY}-g")
    settings = load()
    models = settings.models
    vendors = ("openai", "anthropic", "cohere", "gemini")
    found = [models.vendors[vendor].api_key.get_secret_value() for vendor in vendors]
    assert found == [f"{KEY}-o", f"{KEY}-a", f"{KEY}-c", f"{KEY}-g"], "the setting of the group goes first"
    assert KEY not in f"{settings!r}{models!r}"


@pytest.mark.parametrize(
    ("name", "value", "remedy"),
    [
        ("DATABASE_URL", f"mysql://u:{KEY}@h/d", "postgresql://"),
        ("DATABASE_URL", f"postgresql://u:{KEY}%zz@h/d", "write % as %25"),
        ("DATABASE_APP_URL", f"postgresql//u:{KEY}@h/d", "postgresql://"),
        ("DATABASE_LOG_URL", KEY, "postgresql://"),
        ("REDIS_URL", f"http://:{KEY}@h:6379/0", "redis://"),
        ("REDIS_URL", f"redis://:{KEY}@h:port/0", "redis://"),
    ],
)
def test_a_url_that_no_driver_can_read_is_refused_without_its_password(
    name: str, value: str, remedy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=f"{name}: .*{remedy}") as error:
        load()
    assert KEY not in str(error.value)
    monkeypatch.delenv(name)
    (tmp_path / "responsa.toml").write_text(f'{name.lower()} = "{value}"\n')
    with pytest.raises(SettingsError, match=f"{name}: .*{remedy}"):
        load()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "postgres://u:p%25@[::1]:5433,h2/d?sslmode=require"),
        ("DATABASE_URL", "host=/run/postgresql dbname=responsa"),
        ("REDIS_URL", "rediss://user:p@h/1"),
        ("REDIS_URL", "unix:///run/redis.sock?db=2"),
    ],
)
def test_all_forms_of_urls_that_the_drivers_read_are_accepted(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    given = getattr(load(), name.lower())
    assert given.get_secret_value() == value


def test_variables_that_are_not_settings_are_found() -> None:
    unknown = ["RESPONSA_DATABASE_URL", "RESPONSA_DRAIN_SECOND", "RESPONSA_TURNZ__LEASE_SECONDS"]
    read = [
        "RESPONSA_DRAIN_SECONDS",
        "responsa_port",
        "RESPONSA_TURNS__LEASE_SECONDS",
        "RESPONSA_MODELS__SERVERS__LAB__URL",
        "RESPONSA_CONFIG",
        "RESPONSA_URL",
        "DATABASE_URL",
        "HOME",
    ]
    assert list(unknown_variables([*reversed(unknown), *read])) == unknown


def test_agents_and_sockets_have_their_settings(tmp_path: Path) -> None:
    (tmp_path / "responsa.toml").write_text(
        '[agents]\nfolder = "/srv/agents"\ndefault = "own"\nwatch = false\n'
    )
    settings = load()
    assert (settings.agents.folder, settings.agents.default, settings.agents.watch) == (
        Path("/srv/agents"),
        "own",
        False,
    )
    assert settings.sockets.agent == "chat"
    (tmp_path / "responsa.toml").write_text('[agents]\ndefault = "Own Agent"\n')
    with pytest.raises(SettingsError, match=r"agents\.default"):
        load()


OPEN = {"RESPONSA_ACCOUNTS__REGISTRATION": "open"}
MAILS = {"RESPONSA_MAIL__HOST": "smtp.example.org", "RESPONSA_MAIL__SENDER": "responsa@example.org"}
PAGE = {"RESPONSA_MAIL__PAGE_URL": "https://responsa.example.org/"}


@pytest.mark.parametrize(
    ("listen", "variables", "message"),
    [
        ("127.0.0.1", OPEN, ""),
        ("::1", OPEN, ""),
        ("0.0.0.0", {}, ""),
        ("0.0.0.0", OPEN, "RESPONSA_MAIL__HOST"),
        ("0.0.0.0", OPEN | {"RESPONSA_ACCOUNTS__UNPROVED_ADDRESSES": "true"}, ""),
        ("0.0.0.0", MAILS, "RESPONSA_MAIL__PAGE_URL"),
        ("0.0.0.0", OPEN | MAILS | PAGE, ""),
    ],
)
def test_open_registration_on_a_network_needs_mails(
    listen: str, variables: dict[str, str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"RESPONSA_LISTEN": listen, **variables}.items():
        monkeypatch.setenv(name, value)
    if message:
        with pytest.raises(SettingsError, match=message):
            load()
    else:
        load()


def test_the_password_of_the_mail_server_never_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (
        MAILS | {"RESPONSA_MAIL__PASSWORD": "hidden-one", "RESPONSA_MAIL__TLS": "none"}
    ).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        load()
    assert "unencrypted" in str(caught.value)
    assert "hidden-one" not in str(caught.value)
    monkeypatch.setenv("RESPONSA_MAIL__TLS", "tls")
    settings = load()
    assert "hidden-one" not in repr(settings)
    assert settings.page_url == "http://localhost:8080"
    monkeypatch.setenv("RESPONSA_MAIL__PAGE_URL", PAGE["RESPONSA_MAIL__PAGE_URL"])
    assert load().page_url == "https://responsa.example.org"


def test_a_backup_gets_the_settings_file_without_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESPONSA_HOME", str(tmp_path))
    assert without_secrets(load()) == ("", [])
    file = tmp_path / "responsa.toml"
    file.write_text("port = 8090 # ours\n")
    assert without_secrets(load()) == ("port = 8090 # ours\n", [])
    file.write_text(
        'port = 8090\ndatabase_url = "postgresql://house:sesame@db/house"\n'
        '[models.servers.lab]\nurl = "http://127.0.0.1:9/v1"\napi_key = "sesame"\n'
    )
    text, left_out = without_secrets(load())
    assert sorted(left_out) == ["database_url", "models.servers.lab.api_key"]
    assert "sesame" not in text
    assert "8090" in text
    assert "http://127.0.0.1:9/v1" in text
