"""What the environment says, read and checked once at start; nobody else reads the environment.

Every variable is prefixed ``CITY_``; a ``.env`` file in the working folder is read too. The table of
``docs/operations.md`` lists them with units and defaults.
"""

import re
import ssl
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from city.errors import CityError
from city.key_files import KeyFile, key_file
from city.media_hosts import read_hosts
from city.outgoing import read_allowed
from city.secret_files import IN_FILES, filled

# Of accounts and tokens; what each may is command_centre.api.access's.
ROLES = (
    "viewer",
    "handler",
    "grid_worker",
    "hotline",
    "dispatcher",
    "flood_officer",
    "supervisor",
    "administrator",
    "integrator",
)


class SettingsError(CityError):
    """A setting that cannot be used: one readable line naming variable, value and remedy."""


class Settings(BaseSettings):
    """One process's settings; see ``load`` for reading them with readable errors."""

    model_config = SettingsConfigDict(env_prefix="CITY_", env_file=".env", extra="ignore", frozen=True)

    database_url: str = Field("", repr=False)  # holds a password, as the next one may
    mqtt_url: str = Field("", repr=False)
    mqtt_port: int = Field(1883, ge=1, le=65535)
    mqtt_topics: str = "city/#"  # comma separated filters; more when other senders share the broker
    senders: str = "all"  # comma separated decoders of foreign senders that are listened to; all, or none
    alarm_topic: str = ""  # what stands is published below it for sirens and signs; empty = nothing is
    alarm_exercises: bool = False  # whether exercises are published too, marked
    mqtt_client_id: str = "city-ingest"
    http_host: str = "127.0.0.1"
    http_port: int = Field(8000, ge=1, le=65535)
    centres: int = Field(1, ge=1, le=16)  # centre processes that share the port
    wall_access: Literal["open", "paired"] = (
        "open"  # who may look at the wall: anybody here, or paired screens
    )
    public_url: str = ""  # how people reach the centre, for links in orders; empty = host and port
    data_dir: Path = Path("var")
    config: Path | None = None  # None = the built-in demonstration district
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["console", "json"] | None = None  # None = console on a terminal, else json
    simulate: str = ""
    api_token: SecretStr | None = None
    api_token_file: Path | None = None
    timezone: str = "Asia/Shanghai"
    retention_days: int = Field(400, ge=1)  # observations older than this are neither taken nor kept
    max_unclaimed_devices: int = Field(150_000, ge=0)  # bounds what strangers can make us remember
    batch_interval_ms: int = Field(20, ge=1, le=1000)
    batch_size: int = Field(10_000, ge=1, le=100_000)  # messages in one transaction
    pending_limit: int = Field(60_000, ge=1000)  # unacknowledged messages held; then the socket waits
    listen_host: str = "127.0.0.1"  # address of this machine at which national protocols are listened for
    sl651_port: int = Field(0, ge=0, le=65535)  # hydrological stations, SL 651-2014; 0 = not listened for
    sl651_password: SecretStr | None = None  # 4 hexadecimal digits, commas between several; unset = any
    sl651_stay_online: bool = True  # whether stations are asked to keep the connection (ESC), or may go (EOT)
    gb26875_port: int = Field(
        0, ge=0, le=65535
    )  # fire alarm transmitters, GB/T 26875.3; 0 = not listened for
    hj212_port: int = Field(0, ge=0, le=65535)  # environmental stations, HJ 212; 0 = not listened for
    listen_connections: int = Field(8192, ge=1, le=100_000)  # of one listener
    listen_per_address: int = Field(
        4096, ge=1, le=100_000
    )  # districts come through one address of an operator
    listen_idle_s: float = Field(900, gt=0)  # a connection silent for so long is closed
    listen_frame_s: float = Field(30, gt=0)  # from a frame's first byte to its last
    listen_bytes_per_s: int = Field(65_536, ge=1)  # of one connection; ten seconds' worth may come at once
    listen_frames_per_s: int = Field(200, ge=1)
    stock_paho: bool = False  # read with paho's own loop: slower, for when an upgrade breaks the fast one
    smtp_url: str = Field("", repr=False)  # smtp://user:pass@host:587 ; empty = orders are not mailed
    smtp_from: str = "city@localhost"
    sms_url: SecretStr | None = None  # a gateway of apprise with {phone} in it, for notices to citizens
    webhook_private: Literal["allow", "refuse"] = "allow"  # units' webhooks on private networks
    webhook_secret: SecretStr | None = None  # signs what goes to no unit: anchors, notices to other systems
    anchor_url: str = ""  # where the hourly anchor of the timelines is also sent; empty = nowhere
    urge_after_minutes: int = Field(5, ge=1)  # an order not acknowledged for so long urges its lead
    trusted_proxies: str = "127.0.0.1,::1"  # addresses or networks whose X-Forwarded-For is believed
    report_category: str = "public.other"  # of a report whose sender does not know what it is
    reports_at_once: int = Field(20, ge=1)  # from one address; then one every hour / reports_per_hour
    reports_per_hour: int = Field(60, ge=1, le=3600)
    contact_days: int = Field(365, ge=1)  # so long after its matter is over a reporter's contact is kept
    media_hosts: str = (
        ""  # cameras and recorders whose pictures and clips are fetched for people; empty = none
    )
    forecast_hour: int = Field(3, ge=0, le=23)  # local hour at which stations' models are trained anew
    mqtt_ca_file: Path | None = (
        None  # who signed the broker's certificate (mqtts://); None = the system's own
    )
    mqtt_cert_file: Path | None = None  # our client certificate and its key, where the broker asks for one
    mqtt_key_file: Path | None = None
    broker_files: Path | None = None  # folder where the broker's password and access files are kept written
    session_idle_hours: float = Field(12, gt=0, le=24 * 31)  # a log-in nobody uses for so long ends
    session_days: float = Field(7, gt=0, le=90)  # and so does one that is used all the time
    step_up_minutes: float = Field(
        30, ge=0
    )  # after so long accounts and tokens ask for the password again; 0 = never
    second_factor_roles: str = ""  # roles, comma separated, that act only with a second factor
    breached_passwords: Path | None = (
        None  # stolen passwords by SHA-1, sorted: a file, or a folder by first five digits
    )
    oidc_issuer: str = ""  # https://… of the city's identity provider; empty = local accounts only
    oidc_name: str = ""  # how the button at the log-in calls it
    oidc_client_id: str = ""
    oidc_client_secret_file: Path | None = None  # None = a public client, by PKCE alone
    oidc_scopes: str = "openid profile"
    oidc_rules: Path | None = None  # TOML: which claim gives which role, scope and unit
    oidc_second_factor: Literal["amr", "trust"] = (
        "amr"  # whether the provider has to say that a second one was shown
    )
    data_key_file: Path | None = (
        None  # keys that seal secrets and personal data; None = data_dir/keys/data.keys
    )
    backup_max_age_hours: int = Field(48, ge=0)  # an older newest backup is an incident; 0 = is none
    postgres_programs: Path | None = None  # folder of pg_dump and pg_restore; None = the embedded ones
    report_days: int = Field(1095, ge=1)  # so long after its matter is over a report keeps words and photos
    outgoing_hosts: str = ""  # the only hosts that are called: names, *.names, networks; empty = see the page
    requests_at_once: int = Field(
        600, ge=1
    )  # of one account, or of one address without; then so many each minute
    database_password: SecretStr | None = None  # put into database_url, where that has none
    mqtt_password: SecretStr | None = None  # put into mqtt_url likewise
    database_url_file: Path | None = None  # each holds what the variable without _FILE would
    database_password_file: Path | None = None
    mqtt_url_file: Path | None = None
    mqtt_password_file: Path | None = None
    smtp_url_file: Path | None = None
    sms_url_file: Path | None = None
    webhook_secret_file: Path | None = None
    sl651_password_file: Path | None = None
    body_seconds: float = Field(30, gt=0)  # a body of JSON is here after so long, or its sender is sent away

    metrics_host: str = "127.0.0.1"
    metrics_port: int = Field(0, ge=0, le=65535)  # a door for figures of this process alone; 0 = none
    drain_s: float = Field(
        0, ge=0, le=60
    )  # after a stop was asked for, answered so long while /readyz says 503
    disk_paths: str = (
        ""  # folders of this machine on the database's disks, comma separated; empty = elsewhere
    )
    disk_warn_gb: float = Field(5, ge=0)  # GiB free below which somebody is told
    disk_stop_gb: float = Field(1, ge=0)  # GiB free below which ingest takes no more
    database_max_gb: float = Field(0, ge=0)  # GiB the database may have, where its disk is not ours; 0 = any

    first_secret_hours: float = Field(
        72, gt=0, le=24 * 90
    )  # a one-time secret nobody used is worth nothing then
    database_owner_url: str = Field("", repr=False)  # may change the schema; empty = database_url may
    database_owner_password: SecretStr | None = None
    database_owner_url_file: Path | None = None
    database_owner_password_file: Path | None = None
    stream_url: str = Field("", repr=False)  # rabbitmq-stream://user:pass@host:5552, commas between nodes
    stream_admin_url: str = Field(
        "", repr=False
    )  # http(s)://user:pass@host:15672, for city scale and city doctor
    stream_days: int = Field(7, ge=1, le=365)  # so long the log keeps what was read; set by city scale init
    stream_url_file: Path | None = None
    stream_password: SecretStr | None = None  # put into every address of stream_url
    stream_password_file: Path | None = None
    stream_admin_url_file: Path | None = None
    stream_admin_password: SecretStr | None = None  # put into stream_admin_url
    stream_admin_password_file: Path | None = None
    stream_ca_file: Path | None = None  # who signed RabbitMQ's certificates; None = the system's own
    districts: Path | None = None  # the city's districts and their databases; None = there is one, this one

    uplink_url: str = Field(
        "", repr=False
    )  # mqtts://NODE@broker.of.the.city:8883 ; empty = this district reports to nobody
    uplink_password: SecretStr | None = None  # put into uplink_url
    uplink_url_file: Path | None = None
    uplink_password_file: Path | None = None
    uplink_cell: str = ""  # cell of the city in which this district's node stands
    uplink_rate: int = Field(2000, ge=10, le=100_000)  # readings a second towards the city, at most
    uplink_days: int = Field(30, ge=1)  # so long readings wait for a line that is cut
    uplink_ca_file: Path | None = None  # who signed the city's broker's certificate; None = the system's own
    uplink_cert_file: Path | None = None  # our client certificate and its key, where that broker asks for one
    uplink_key_file: Path | None = None
    chunk_hours: int = Field(
        0, ge=0, le=24
    )  # of TimescaleDB's chunks to come; 0 = by the size of the register
    hot_days: int = Field(30, ge=3)  # readings older than this are for city history archive to take
    rollup_days: int = Field(0, ge=0)  # hourly values are kept so long; 0 = as long as readings

    @model_validator(mode="before")
    @classmethod
    def _from_files(cls, given: Any) -> Any:
        return filled(given) if isinstance(given, dict) else given

    @field_validator("chunk_hours")
    @classmethod
    def _part_of_a_day(cls, value: int) -> int:
        if value and 24 % value:
            raise ValueError("must divide a day: 1, 2, 3, 4, 6, 8, 12 or 24; 0 = by the size of the register")
        return value

    @field_validator("database_url", "database_owner_url")
    @classmethod
    def _postgres(cls, value: str) -> str:
        if value and urlsplit(value).scheme not in ("postgresql", "postgres"):
            raise ValueError("must start with postgresql:// ; leave it empty for the embedded database")
        return value

    @field_validator("mqtt_url")
    @classmethod
    def _mqtt(cls, value: str) -> str:
        if value and (urlsplit(value).scheme not in ("mqtt", "mqtts") or not urlsplit(value).hostname):
            raise ValueError(
                "must look like mqtt://user:pass@host:1883 ; leave it empty for the embedded broker"
            )
        return value

    @field_validator("uplink_url")
    @classmethod
    def _city(cls, value: str) -> str:
        parts = urlsplit(value)
        if value and (parts.scheme not in ("mqtt", "mqtts") or not parts.hostname or not parts.username):
            raise ValueError(
                "must look like mqtts://NODE@host:8883, where NODE is this district's code at the city"
            )
        return value

    @field_validator("stream_url")
    @classmethod
    def _streams(cls, value: str) -> str:
        each = [part.strip() for part in value.split(",") if part.strip()]
        if len({urlsplit(one).scheme for one in each}) > 1:
            raise ValueError("all nodes are spoken to with TLS, or none")
        for one in each:
            if urlsplit(one).scheme not in ("rabbitmq-stream", "rabbitmq-stream+tls"):
                raise ValueError("must look like rabbitmq-stream://user:pass@host:5552, commas between nodes")
        return value

    @field_validator("stream_admin_url")
    @classmethod
    def _admin(cls, value: str) -> str:
        if value and (urlsplit(value).scheme not in ("http", "https") or not urlsplit(value).hostname):
            raise ValueError("must look like http://user:pass@host:15672")
        return value

    @field_validator("alarm_topic")
    @classmethod
    def _outside(cls, value: str) -> str:
        levels = value.split("/")
        if value and (not all(levels) or levels[0] in ("city", "$SYS") or set(value) & set("+#$%")):
            raise ValueError("must be a topic such as out, without + # $ %, and not below city/")
        return value

    @field_validator("timezone")
    @classmethod
    def _zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (KeyError, ValueError, OSError) as error:
            raise ValueError("is not a time zone; use a name such as Asia/Shanghai") from error
        return value

    @field_validator("anchor_url")
    @classmethod
    def _webhook(cls, value: str) -> str:
        if value and (urlsplit(value).scheme not in ("http", "https") or not urlsplit(value).hostname):
            raise ValueError("must look like https://host/path ; leave it empty to send anchors nowhere")
        return value

    @field_validator("oidc_issuer")
    @classmethod
    def _issuer(cls, value: str) -> str:
        given = urlsplit(value)
        here = given.hostname in ("localhost", "127.0.0.1", "::1")
        if value and (given.scheme != "https" and not (given.scheme == "http" and here)):
            raise ValueError("must start with https:// ; empty = local accounts only")
        return value

    @field_validator("second_factor_roles")
    @classmethod
    def _roles(cls, value: str) -> str:
        for one in filter(None, (part.strip() for part in value.split(","))):
            if one not in ROLES:
                raise ValueError(f"{one} is no role; there are {', '.join(ROLES)}")
        return value

    @field_validator("media_hosts")
    @classmethod
    def _hosts(cls, value: str) -> str:
        read_hosts(value)
        return value

    @field_validator("outgoing_hosts")
    @classmethod
    def _allowed(cls, value: str) -> str:
        read_allowed(value)
        return value

    @field_validator("sl651_password")
    @classmethod
    def _passwords(cls, value: SecretStr | None) -> SecretStr | None:
        for one in value.get_secret_value().split(",") if value is not None else ():
            if not re.fullmatch("[0-9A-Fa-f]{4}", one.strip()):
                raise ValueError("must be 4 hexadecimal digits, with commas between several")
        return value

    @field_validator("sms_url")
    @classmethod
    def _gateway(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and "{phone}" not in value.get_secret_value():
            raise ValueError("must hold {phone} where the number goes, as in twilio://…/{phone}")
        return value

    @field_validator(
        "config",
        "districts",
        "api_token_file",
        "mqtt_ca_file",
        "mqtt_cert_file",
        "mqtt_key_file",
        "broker_files",
        "data_key_file",
        *(f"{name}_file" for name in IN_FILES),
        "database_password",
        "database_owner_password",
        "mqtt_password",
        "uplink_password",
        "stream_password",
        "stream_admin_password",
        "stream_ca_file",
        "uplink_ca_file",
        "uplink_cert_file",
        "uplink_key_file",
        "breached_passwords",
        "oidc_client_secret_file",
        "oidc_rules",
        "log_format",
        "api_token",
        "sms_url",
        "webhook_secret",
        "sl651_password",
        "postgres_programs",
        mode="before",
    )
    @classmethod
    def _empty_is_unset(cls, value: object) -> object:
        return None if value == "" else value

    @property
    def first_secret_lasts(self) -> timedelta:
        """How long a one-time secret opens the change of itself while nobody uses it."""
        return timedelta(hours=self.first_secret_hours)

    @property
    def photo_folder(self) -> Path:
        """Where photos stand, outside the database."""
        return self.data_dir / "photos"

    @property
    def document_folder(self) -> Path:
        """Where documents of the register stand, outside the database."""
        return self.data_dir / "documents"

    @property
    def keys(self) -> KeyFile:
        """The same ring as it stands now: read, or made, when it is first used, and again when the file changes."""
        return key_file(self.key_file.absolute())

    @property
    def media_folder(self) -> Path:
        """Where fetched pictures and clips stand for some minutes."""
        return self.data_dir / "media"

    @property
    def roles_with_second_factor(self) -> frozenset[str]:
        """Who acts only with a second factor."""
        return frozenset(filter(None, (part.strip() for part in self.second_factor_roles.split(","))))

    @property
    def key_file(self) -> Path:
        """The ring of keys that seals secrets and personal data; apart from the database on purpose."""
        return self.data_key_file or self.data_dir / "keys" / "data.keys"

    @property
    def zone(self) -> ZoneInfo:
        """The district's own zone; storage is UTC regardless."""
        return ZoneInfo(self.timezone)

    @property
    def base_url(self) -> str:
        """How people reach the centre, without a slash at its end."""
        return (self.public_url or f"http://{self.http_host}:{self.http_port}").rstrip("/")

    @property
    def urge_after(self) -> timedelta:
        """How long a unit may leave an order unacknowledged where neither list nor catalogue says."""
        return timedelta(minutes=self.urge_after_minutes)

    def tls_of_broker(self) -> ssl.SSLContext | None:
        """How ``mqtts://`` is spoken: TLS 1.2 or newer, the broker's name and certificate checked, ours shown.

        None where the address is not ``mqtts://``. Raises SettingsError when a file cannot be read or is not what it
        should be.
        """
        if not self.mqtt_url.startswith("mqtts:"):
            return None
        return _tls("CITY_MQTT", self.mqtt_ca_file, self.mqtt_cert_file, self.mqtt_key_file)

    def tls_of_log(self) -> ssl.SSLContext | None:
        """The same towards RabbitMQ's streams (``rabbitmq-stream+tls://``), without a certificate of ours."""
        return self._tls_of_rabbitmq() if "+tls://" in self.stream_url else None

    def tls_of_log_admin(self) -> ssl.SSLContext | None:
        """The same towards its management (``https://``)."""
        return self._tls_of_rabbitmq() if self.stream_admin_url.startswith("https:") else None

    def _tls_of_rabbitmq(self) -> ssl.SSLContext:
        return _tls("CITY_STREAM", self.stream_ca_file, None, None)

    def tls_of_uplink(self) -> ssl.SSLContext | None:
        """The same towards the city's broker."""
        if not self.uplink_url.startswith("mqtts:"):
            return None
        return _tls("CITY_UPLINK", self.uplink_ca_file, self.uplink_cert_file, self.uplink_key_file)

    def token(self) -> str | None:
        """The administrator's bearer token, from the variable or the file, or None.

        Raises SettingsError when the file cannot be read.
        """
        if self.api_token is not None:
            return self.api_token.get_secret_value()
        if self.api_token_file is None:
            return None
        try:
            return self.api_token_file.read_text(encoding="utf-8").strip() or None
        except OSError as error:
            raise SettingsError(
                f"CITY_API_TOKEN_FILE: {self.api_token_file} cannot be read ({error.strerror}); "
                "make it readable or unset the variable"
            ) from error


def _tls(prefix: str, authority: Path | None, certificate: Path | None, key: Path | None) -> ssl.SSLContext:
    name, path = f"{prefix}_CA_FILE", authority
    try:
        context = ssl.create_default_context(cafile=authority)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if certificate is not None:
            name, path = f"{prefix}_CERT_FILE or {prefix}_KEY_FILE", certificate
            context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(
            f"{name}: {path} cannot be used ({error.strerror or error}); give PEM files that belong together"
        ) from error
    return context


def load() -> Settings:
    """Read the environment; raises SettingsError with one line for each wrong variable."""
    try:
        return Settings()
    except ValidationError as error:
        lines = []
        for fault in error.errors():
            if not fault["loc"]:  # of a secret's file, which names itself
                lines.append(fault["msg"].removeprefix("Value error, "))
                continue
            name = "CITY_" + "_".join(str(part) for part in fault["loc"]).upper()
            secret = any(word in name.lower() for word in ("token", "url", "password", "secret"))
            shown = "(hidden)" if secret else repr(fault.get("input"))
            lines.append(f"{name} = {shown}: {fault['msg'].removeprefix('Value error, ')}")
        raise SettingsError("; ".join(lines)) from error
