"""Secrets out of files: every one has a file, a variable wins, and what is wrong is said without saying the secret."""

from pathlib import Path

import pytest

from city import settings
from city.secret_files import IN_FILES
from city.settings import Settings, SettingsError

VALUES = {
    "database_url": "postgresql://city:marked@h/city",
    "database_password": "marked",
    "database_owner_url": "postgresql://owner:marked@h/city",
    "database_owner_password": "marked",
    "mqtt_url": "mqtt://ingest:marked@h",
    "mqtt_password": "marked",
    "smtp_url": "smtp://u:marked@h",
    "sms_url": "twilio://marked/{phone}",
    "webhook_secret": "marked",
    "sl651_password": "00Ff",
    "uplink_url": "mqtts://D1:marked@h",
    "uplink_password": "marked",
    "stream_url": "rabbitmq-stream://ingest:marked@a:5552",
    "stream_password": "marked",
    "stream_admin_url": "https://admin:marked@a:15671",
    "stream_admin_password": "marked",
}


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)  # no .env
    for name in Settings.model_fields:
        monkeypatch.delenv(f"CITY_{name.upper()}", raising=False)


def plain(value: object) -> object:
    return value.get_secret_value() if hasattr(value, "get_secret_value") else value


@pytest.mark.parametrize("name", IN_FILES)
def test_each_secret_comes_from_its_file(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(VALUES[name] + "\n")
    monkeypatch.setenv(f"CITY_{name.upper()}_FILE", str(tmp_path / "secret"))
    assert plain(getattr(settings.load(), name)) == VALUES[name]


def test_every_setting_that_is_secret_has_a_file() -> None:
    secret = {name for name, field in Settings.model_fields.items() if not field.repr} | {
        name for name, field in Settings.model_fields.items() if "SecretStr" in str(field.annotation)
    }
    assert {name for name in secret if f"{name}_file" not in Settings.model_fields} == set()


def test_no_secret_is_shown_with_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in VALUES.items():
        monkeypatch.setenv(f"CITY_{name.upper()}", value)
    monkeypatch.setenv("CITY_API_TOKEN", "marked")
    shown = settings.load()
    assert "marked" not in repr(shown) + str(shown)


def test_a_password_goes_into_the_address_of_every_node(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "p").write_text("p@ss,w:rd")
    monkeypatch.setenv(
        "CITY_STREAM_URL", "rabbitmq-stream+tls://in@a:5551, rabbitmq-stream+tls://in:own@b:5551"
    )
    monkeypatch.setenv("CITY_STREAM_PASSWORD_FILE", str(tmp_path / "p"))
    assert settings.load().stream_url == (
        "rabbitmq-stream+tls://in:p%40ss%2Cw%3Ard@a:5551,rabbitmq-stream+tls://in:own@b:5551"
    )


def test_a_password_of_a_file_goes_into_its_address(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "p").write_text("p@ss/w:rd\n")
    monkeypatch.setenv("CITY_DATABASE_URL", "postgresql://city@db:5432/city?sslmode=require")
    monkeypatch.setenv("CITY_DATABASE_PASSWORD_FILE", str(tmp_path / "p"))
    assert settings.load().database_url == "postgresql://city:p%40ss%2Fw%3Ard@db:5432/city?sslmode=require"
    monkeypatch.setenv("CITY_DATABASE_URL", "postgresql://city:own@db/city")
    assert settings.load().database_url == "postgresql://city:own@db/city"
    monkeypatch.setenv("CITY_DATABASE_URL", "postgresql://db/city")
    with pytest.raises(SettingsError, match="names no user"):
        settings.load()


def test_a_variable_wins_over_its_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CITY_SMTP_URL", "smtp://here")
    monkeypatch.setenv("CITY_SMTP_URL_FILE", str(tmp_path / "absent"))
    assert settings.load().smtp_url == "smtp://here"


@pytest.mark.parametrize("content", [None, b"", b"marked\nmarked", b"\xff\xfe", b"x" * 70_000])
def test_a_file_that_cannot_be_used_is_named_and_not_told(
    content: bytes | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / "s").write_bytes(content)
    monkeypatch.setenv("CITY_WEBHOOK_SECRET_FILE", str(tmp_path / "s"))
    with pytest.raises(SettingsError, match="CITY_WEBHOOK_SECRET_FILE") as refused:
        settings.load()
    assert "marked" not in str(refused.value)
