"""Calls that leave the centre: TLS to the judged address under the name's certificate, no redirect into the inside."""

import asyncio
import datetime as dt
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from city.outgoing import Allowed, Guarded, OutgoingError, read_allowed, resolve
from command_centre.notify import webhook
from command_centre.notify.delivery import DeliveryError

NAME = "hooks.unit.example"
INSIDE = Allowed(private=True)
Done = TypeVar("Done")


class Receiver(BaseHTTPRequestHandler):
    """Remembers what it was asked, and sends on whoever asks for it."""

    heard: ClassVar[list[tuple[str, str]]] = []

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.heard.append((self.headers["Host"], self.path))
        self.send_response(204)
        self.end_headers()

    def do_GET(self) -> None:
        self.heard.append((self.headers["Host"], self.path))
        if self.path.startswith("/to/"):
            self.send_response(302)
            self.send_header("Location", "http://" + self.path.removeprefix("/to/"))
        else:
            self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Silent."""


def certificate(folder: Path, name: str) -> Path:
    """A certificate for a name, signed by itself, with its key in the same file."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = folder / f"{name}.pem"
    file.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return file


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certificate(tmp_path_factory.mktemp("tls"), NAME)


@pytest.fixture(scope="module")
def tls(own: Path) -> Iterator[int]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(own)
    with serving(context) as port:
        yield port


@pytest.fixture(scope="module")
def plain() -> Iterator[int]:
    with serving(None) as port:
        yield port


class serving:  # noqa: N801  # used as a verb
    """A receiver on a free port of this machine."""

    def __init__(self, context: ssl.SSLContext | None) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
        if context is not None:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)

    def __enter__(self) -> int:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self._server.server_port

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(autouse=True)
def _names(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name server that an attacker may hold: a name of ours, one of the metadata service, one that changes."""
    Receiver.heard.clear()
    turns = iter(["127.0.0.1", *["169.254.169.254"] * 9])
    led: dict[str, Callable[[], str]] = {
        NAME: lambda: "127.0.0.1",
        "meta.unit.example": lambda: "169.254.169.254",
        "changing.unit.example": lambda: next(turns),
    }
    true = socket.getaddrinfo

    def found(host: Any, port: Any, *args: Any, **more: Any) -> Any:
        return true(led[host]() if host in led else host, port, *args, **more)

    monkeypatch.setattr(socket, "getaddrinfo", found)


def run(work: Callable[[httpx.AsyncClient], Awaitable[Done]], client: httpx.AsyncClient) -> Done:
    async def inside() -> Done:
        async with client:
            return await work(client)

    return asyncio.run(inside())


def post(client: httpx.AsyncClient, url: str, allowed: Allowed = INSIDE) -> str:
    async def work(client: httpx.AsyncClient) -> str:
        receipt = await webhook.send(
            client, url, {"a": 1}, secret="s", key="k", now=dt.datetime.now(dt.UTC), allowed=allowed
        )
        return receipt.status

    return run(work, client)


def trusting(own: Path) -> httpx.AsyncClient:
    context = ssl.create_default_context(cafile=str(own))
    return httpx.AsyncClient(verify=context, timeout=60, follow_redirects=False, trust_env=False)


def test_a_webhook_over_tls_goes_to_the_judged_address_under_the_names_certificate(
    own: Path, tls: int
) -> None:
    assert post(trusting(own), f"https://{NAME}:{tls}/in") == "204"
    assert Receiver.heard == [(f"{NAME}:{tls}", "/in")]


def test_a_certificate_of_another_name_is_refused(own: Path, tls: int) -> None:
    """The same server, by a name that its certificate does not have: pinning the address must not loosen this."""
    with pytest.raises(DeliveryError, match="cannot connect"):
        post(trusting(own), f"https://changing.unit.example:{tls}/in")
    assert Receiver.heard == []
    with pytest.raises(DeliveryError, match="cannot connect"):
        post(webhook.new_client(), f"https://{NAME}:{tls}/in")  # nobody's authority


def test_a_name_that_changes_in_between_leads_nowhere_else(plain: int) -> None:
    assert post(webhook.new_client(), f"http://changing.unit.example:{plain}/in") == "204"
    with pytest.raises(DeliveryError, match="metadata"):
        post(webhook.new_client(), f"http://changing.unit.example:{plain}/in")


def test_only_listed_hosts_are_called(plain: int) -> None:
    url = f"http://{NAME}:{plain}/in"
    for entry in (NAME, "*.unit.example", "*.example", "127.0.0.0/8", "127.0.0.1"):
        assert post(webhook.new_client(), url, Allowed(private=True, only=read_allowed(entry))) == "204"
    for entry in ("unit.example", "*.hooks.unit.example", "10.0.0.0/8", "other.example"):
        with pytest.raises(DeliveryError, match="CITY_OUTGOING_HOSTS") as refused:
            post(webhook.new_client(), url, Allowed(private=True, only=read_allowed(entry)))
        assert not refused.value.retry
    with pytest.raises(DeliveryError, match="private"):  # being listed opens no private network
        post(webhook.new_client(), url, Allowed(private=False, only=read_allowed(NAME)))


@pytest.mark.parametrize("setting", ["http://x", "a b", "10.0.0.0/99", "*", "x/y", "user@host"])
def test_a_list_that_cannot_be_read_is_refused(setting: str) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        read_allowed(setting)


def test_a_guarded_client_follows_no_redirect_inside(plain: int) -> None:
    def client(allowed: Allowed) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            transport=Guarded(allowed), follow_redirects=True, timeout=30, trust_env=False
        )

    async def get(client: httpx.AsyncClient, path: str) -> httpx.Response:
        return await client.get(f"http://{NAME}:{plain}/{path}")

    assert run(lambda made: get(made, f"to/{NAME}:{plain}/end"), client(INSIDE)).status_code == 200
    assert [path for _, path in Receiver.heard][-1] == "/end"
    for inside in (
        "169.254.169.254/latest",
        "meta.unit.example/",
        "[::ffff:169.254.169.254]/",
        "[64:ff9b::a9fe:a9fe]/",
    ):
        with pytest.raises(httpx.ConnectError, match="metadata"):
            run(lambda made, inside=inside: get(made, f"to/{inside}"), client(INSIDE))  # type: ignore[misc]  # bound now
    with pytest.raises(httpx.ConnectError, match="private"):
        run(lambda made: get(made, "end"), client(Allowed(private=False)))


def test_a_guarded_client_proves_the_names_certificate(own: Path, tls: int) -> None:
    inner = httpx.AsyncHTTPTransport(verify=ssl.create_default_context(cafile=str(own)))
    client = httpx.AsyncClient(transport=Guarded(INSIDE, inner), timeout=60)
    answer = run(lambda made: made.get(f"https://{NAME}:{tls}/x"), client)
    assert answer.status_code == 200
    assert Receiver.heard == [(f"{NAME}:{tls}", "/x")]


def test_a_name_that_is_nobodys_may_be_tried_later() -> None:
    with pytest.raises(OutgoingError) as refused:
        asyncio.run(resolve("no-such-name.invalid", 80, INSIDE))
    assert refused.value.retry
