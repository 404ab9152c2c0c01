"""Secrets out of files, as Docker, Kubernetes and systemd hand them over: ``CITY_X_FILE`` names the file of ``CITY_X``.

A file does not stand in a process's environment, which a crash report or a child process may show.
"""

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

IN_FILES = (
    "database_url",
    "database_password",
    "database_owner_url",
    "database_owner_password",
    "mqtt_url",
    "mqtt_password",
    "smtp_url",
    "sms_url",
    "webhook_secret",
    "sl651_password",
    "uplink_url",
    "uplink_password",
    "stream_url",
    "stream_password",
    "stream_admin_url",
    "stream_admin_password",
)
_PASSWORDS = (  # address, what is put into it
    ("database_url", "database_password"),
    ("database_owner_url", "database_owner_password"),
    ("mqtt_url", "mqtt_password"),
    ("uplink_url", "uplink_password"),
    ("stream_url", "stream_password"),
    ("stream_admin_url", "stream_admin_password"),
)
_MOST_BYTES = 64 * 1024


def filled(given: Mapping[str, object]) -> dict[str, object]:
    """The settings with what their files hold, and passwords put into the addresses they belong to.

    A variable that is set itself wins over its file. Raises ValueError naming variable and file, never the content.
    """
    found = dict(given)
    for name in IN_FILES:
        path = found.get(f"{name}_file")
        if path and not found.get(name):
            found[name] = _content(name, Path(str(path)))
    for address, password in _PASSWORDS:
        if found.get(password):
            whole = str(found.get(address) or "")
            each = whole.split(",") if address == "stream_url" else [whole]  # nodes of one cluster
            found[address] = ",".join(
                _with_password(address, one.strip(), str(found[password])) for one in each
            )
    return found


def _content(name: str, path: Path) -> str:
    """The whole file without the line's end that an editor puts there."""
    variable = f"CITY_{name.upper()}_FILE"
    try:
        with path.open("rb") as file:
            raw = file.read(_MOST_BYTES + 1)
        text = raw.decode("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise ValueError(
            f"{variable}: {path} cannot be read ({why}); make it readable or unset it"
        ) from error
    if not text or len(raw) > _MOST_BYTES or not text.isprintable():
        raise ValueError(
            f"{variable}: {path} is empty, too large or of several lines; write the one secret into it"
        )
    return text


def _with_password(name: str, address: str, password: str) -> str:
    """The address with the password at its user, unless it has one."""
    parts = urlsplit(address)
    if parts.password is not None or not parts.hostname:
        return address
    if not parts.username:
        raise ValueError(
            f"CITY_{name.upper()}: names no user for the password; write it as scheme://user@host"
        )
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{parts.username}:{quote(password, safe='')}@{host}"))
