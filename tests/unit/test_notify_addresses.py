"""Which addresses are called and how they are shown: no way inside by a name, and no secret outside."""

import asyncio
import importlib
import ipaddress
import socket
from typing import Any

import pytest

from city import outgoing
from city.contacts import ContactError
from command_centre.notify import addresses, gateways
from command_centre.notify.delivery import DeliveryError


@pytest.mark.parametrize(
    "address", ["169.254.169.254", "::ffff:169.254.169.254", "fe80::1", "100.100.100.200", "fd00:ec2::254",
                "0.0.0.0", "2002:a9fe:a9fe::", "::", "224.0.0.1", "255.255.255.255"],  # noqa: S104  # judged, not bound
)  # fmt: skip
def test_metadata_and_nobodys_addresses_are_refused_whatever_is_set(address: str) -> None:
    assert outgoing.refused(ipaddress.ip_address(address), private=True)


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "::1", "10.1.2.3", "192.168.1.1", "172.16.0.1", "fd12::1", "100.64.0.1", "::ffff:10.0.0.1"]
)  # fmt: skip
def test_private_networks_are_called_only_where_allowed(address: str) -> None:
    assert not outgoing.refused(ipaddress.ip_address(address), private=True)
    assert "private" in outgoing.refused(ipaddress.ip_address(address), private=False)


@pytest.mark.parametrize("address", ["8.8.8.8", "2001:4860:4860::8888"])
def test_public_addresses_are_called(address: str) -> None:
    assert not outgoing.refused(ipaddress.ip_address(address), private=False)


def test_one_forbidden_address_of_a_name_forbids_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    async def found(*_: Any, **__: Any) -> list[Any]:
        return [(socket.AF_INET, None, 0, "", (one, 80)) for one in ("8.8.8.8", "169.254.169.254")]

    async def work() -> None:
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", found)
        await addresses.resolve("rebinding.example", 80, outgoing.Allowed(private=True))

    with pytest.raises(DeliveryError, match=r"169\.254\.169\.254") as caught:
        asyncio.run(work())
    assert not caught.value.retry


@pytest.mark.parametrize(
    ("channel", "address"),
    [
        ("smtp", "nobody"), ("smtp", "a@b@c"), ("smtp", "@here.example"), ("smtp", "a b@example.org"),
        ("webhook", "ftp://example.org/"), ("webhook", "https:///path"), ("webhook", "http://[::1"), ("webhook", ""),
        ("apprise", "file:///etc/passwd"), ("apprise", "dbus://"), ("apprise", "gnome://"), ("apprise", "macosx://"),
        ("apprise", "windows://"), ("apprise", "syslog://"), ("apprise", "json://10.0.0.1/"), ("apprise", "nothing"),
    ],
)  # fmt: skip
def test_an_address_that_cannot_be_used_is_refused_without_being_repeated(channel: str, address: str) -> None:
    with pytest.raises(ContactError) as caught:
        addresses.check(channel, address)
    assert caught.value.field == "address"
    assert not address or address not in str(caught.value)


@pytest.mark.parametrize(
    "address", ["dingtalk://abcdefghij1234567890/", "feishu://abc-def-ghi-123456", "wecombot://botkey-abcd",
                "mqtt://10.0.0.5/alarms", "ntfys://push.example.org/orders"],
)  # fmt: skip
def test_what_the_districts_use_can_be_used(address: str) -> None:
    addresses.check("apprise", address)
    assert gateways.usable(address)


def test_every_allowed_scheme_has_the_plugin_that_is_named() -> None:
    for scheme, plugin in addresses.PLUGINS.items():
        module, _, name = plugin.rpartition(".")
        found = getattr(importlib.import_module(f"apprise.plugins.{module}"), name)
        spoken: set[str] = set()
        for protocols in (found.protocol, found.secure_protocol):
            spoken |= {protocols} if isinstance(protocols, str) else set(protocols or ())
        assert scheme in spoken


def test_a_persons_own_address_names_no_host_of_its_own() -> None:
    addresses.check_personal("apprise", "ntfy://topic")
    for inside in (
        "mqtt://10.0.0.5/x",
        "ntfy://localhost/x",
        "ntfy://localhost?mode=private&to=x",
        "gotify://h/t",
    ):
        with pytest.raises(ContactError, match="administrator"):
            addresses.check_personal("apprise", inside)


def test_secrets_are_masked() -> None:
    assert addresses.masked("apprise", "dingtalk://token@secret/13800000000") == "dingtalk://…"
    assert addresses.masked("webhook", "https://u:p@hook.example.org/x?key=1") == "https://hook.example.org/…"
    assert addresses.masked("smtp", "a@example.org") == "a@example.org"
    assert addresses.masked("webhook", "http://[::1") == "…"
