"""Where a device, or a gateway for its devices, speaks at the broker: the topics its account may publish on; pure.

Native topics name their device. Foreign families have their own forms, as their decoders read them; what a family says
only in its payload (SenML's base names, ThingsBoard's gateway API) no broker can bind to an account: whoever may write
there speaks for all of it.
"""

import re
from collections.abc import Iterable, Sequence

ROOTS: dict[str, tuple[str, ...]] = {  # all of a family, for a bridge, a recorder or a network server
    "chirpstack": ("application/#",),
    "frigate": ("frigate/#",),
    "homeassistant": ("homeassistant/#",),
    "senml": ("senml/#", "channels/#"),
    "tasmota": ("tele/#", "stat/#", "tasmota/discovery/#"),
    "thingsboard": ("v1/gateway/#", "v1/devices/#", "v2/#"),
    "things_stack": ("v3/#",),
    "zigbee2mqtt": ("zigbee2mqtt/#",),
}
_OF_NAME: dict[str, tuple[str, ...]] = {  # {} = the name under which the family knows it
    "chirpstack": ("application/+/device/{}/event/+",),
    "frigate": ("frigate/{}/#",),
    "senml": ("senml/{}", "{}/senml"),
    "tasmota": ("tele/{}/+", "stat/{}/+", "{}/tele/+", "{}/stat/+", "tasmota/discovery/{}/+"),
    "thingsboard": ("{}/v1/devices/me/+", "{}/v1/gateway/+"),
    "things_stack": ("v3/+/devices/{}/#",),
    "zigbee2mqtt": ("zigbee2mqtt/{}", "zigbee2mqtt/{}/#"),
}
_WHOLE = {("zigbee2mqtt", "bridge"), ("frigate", "frigate")}  # the sender itself, in its own family
_NOT_A_TOPIC = re.compile(r"[\x00-\x1f\x7f+#\u2028\u2029]")
_OURS = ("city", "out")  # below these nobody is granted a filter by hand
MOST_BYTES = 500  # of one filter: a line of the broker's access file is read into a buffer


def native(code: str) -> tuple[str, ...]:
    """A device's own topic and its last will's, in whatever cell it stands; none where its code is no topic level."""
    if not code or "/" in code or not _sayable(code):
        return ()
    return f"city/+/+/{code}", f"city/+/+/{code}/status"


def within(cell: str) -> tuple[str, ...]:
    """Where everything in a cell speaks natively, for a district's node; none where its code is no topic level."""
    if not cell or "/" in cell or not _sayable(cell):
        return ()
    return f"city/{cell}/+/+", f"city/{cell}/+/+/status"


def foreign(family: str, name: str) -> tuple[str, ...]:
    """Where a family publishes what is of the device of this name; none for one that uses no broker."""
    if (family, name) in _WHOLE:
        return ROOTS[family]
    if not name or not _sayable(name):
        return ()
    if family == "things_stack":  # known by EUI, or as application.device; its topics hold the device's id
        application, dot, device = name.partition(".")
        name = device if dot else f"eui-{application}"
    forms = _OF_NAME.get(family, ())
    if "/" in name:
        forms = tuple(
            form for form in forms if "discovery" not in form
        )  # there it is a network address, one level
    return tuple(form.format(name) for form in forms)


def speaks_on(
    devices: Iterable[tuple[str, Sequence[tuple[str, str]]]], families: Iterable[str], granted: Iterable[str]
) -> list[str]:
    """Filters of an account that speaks for ``devices``, (code, [(family, name)]), whole families and what was granted.

    Each once, in order; one that could widen what it stands for, or break a line, is left out.
    """
    found: dict[str, None] = {}
    for code, names in devices:
        found.update(dict.fromkeys(native(code)))
        for family, name in names:
            found.update(dict.fromkeys(foreign(family, name)))
    for family in families:
        found.update(dict.fromkeys(ROOTS.get(family, ())))
    found.update(dict.fromkeys(one for one in granted if fault(one) is None))
    return [one for one in found if len(one.encode()) <= MOST_BYTES]


def fault(wanted: str) -> str | None:
    """Why a filter cannot be granted by hand, or None: its first word must be neither ours nor the broker's."""
    levels = wanted.split("/")
    if not wanted or len(wanted.encode()) > MOST_BYTES or wanted != wanted.strip():
        return f"is empty, has spaces around it or is longer than {MOST_BYTES} bytes"
    if re.search(r"[\x00-\x1f\x7f\u2028\u2029]", wanted):
        return "has control characters"
    if levels[0] in ("", "+", "#") or levels[0].startswith("$") or levels[0] in _OURS:
        return "must begin with the sender's own word, not with a wildcard, $, city or out"
    for place, level in enumerate(levels):
        whole = level == "+" or (level == "#" and place == len(levels) - 1)
        if not whole and ("+" in level or "#" in level):
            return "uses + and # otherwise than for a whole level"
    return None


def _sayable(name: str) -> bool:
    return name == name.strip() and not name.startswith("$") and _NOT_A_TOPIC.search(name) is None
