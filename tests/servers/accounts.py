"""What serves in a test signs in as what serves in a city: rows and nothing of the schema (migration 0047).

So every statement of ours that the suite runs through a centre or an ingest shows that it needs no more than that.
"""

import secrets
from contextlib import suppress
from urllib.parse import urlsplit, urlunsplit

from city.errors import CityError
from city.storage import services

_NAME = f"serving_{secrets.token_hex(4)}"  # tests of another process may use the same server
_PASSWORD = secrets.token_urlsafe(24)
_known: set[str] = set()  # servers that have the account, host and port


def services_url(url: str) -> str:
    """The same database as its serving account; ``url`` itself where that server has no schema of ours yet."""
    parts = urlsplit(url)
    if not (parts.username == "postgres" and parts.password):  # a test's own account, or none of ours
        return url
    place = parts.netloc.rpartition("@")[2]
    serving = urlunsplit(parts._replace(netloc=f"{_NAME}:{_PASSWORD}@{place}"))
    if place not in _known:
        with suppress(CityError):  # a server that is away, or has no such role yet, is what the test is about
            services.ensure(url, serving)
            _known.add(place)
    return serving if place in _known else url
