"""Which addresses may be called, and how they are shown: an address may hold a password, and may point inside.

A district's units live on private networks, so those are allowed unless CITY_WEBHOOK_PRIVATE=refuse; what a person or
a citizen gives never is. Link-local addresses and the clouds' metadata services are refused whatever is set
(``city.outgoing``).
"""

from collections.abc import Mapping
from urllib.parse import urlsplit

from city import outgoing
from city.contacts import ContactError
from city.outgoing import Allowed, OutgoingError
from command_centre.notify.delivery import DeliveryError

_MAIL_MOST = 254
# Through apprise: scheme, and its plugin. Nothing that starts a program, speaks to the desktop, writes to a log or
# takes any address for any body; what is called at the receiver's own host is in SELF_HOSTED and looked up first.
_PLAIN: dict[str, str] = {
    "bark": "bark.NotifyBark",
    "gotify": "gotify.NotifyGotify",
    "matrix": "matrix.base.NotifyMatrix",
    "mmost": "mattermost.NotifyMattermost",
    "mqtt": "mqtt.NotifyMQTT",
    "ntfy": "ntfy.NotifyNtfy",
    "pushdeer": "pushdeer.NotifyPushDeer",
    "rocket": "rocketchat.NotifyRocketChat",
    "signal": "signal_api.NotifySignalAPI",
    "smseagle": "smseagle.NotifySMSEagle",
    "synology": "synology.NotifySynology",
}
SELF_HOSTED: Mapping[str, str] = {
    **_PLAIN,
    **{f"{scheme}s": name for scheme, name in _PLAIN.items()},
}  # and over TLS
HOSTED: Mapping[str, str] = {
    "46elks": "fortysixelks.Notify46Elks",
    "bulksms": "bulksms.NotifyBulkSMS",
    "clickatell": "clickatell.NotifyClickatell",
    "clicksend": "clicksend.NotifyClickSend",
    "d7sms": "d7networks.NotifyD7Networks",
    "dingtalk": "dingtalk.NotifyDingTalk",
    "feishu": "feishu.NotifyFeishu",
    "lark": "lark.NotifyLark",
    "msg91": "msg91.NotifyMSG91",
    "plivo": "plivo.NotifyPlivo",
    "pushme": "pushme.NotifyPushMe",
    "pushplus": "pushplus.NotifyPushplus",
    "qq": "qq.NotifyQQ",
    "schan": "serverchan.NotifyServerChan",
    "sinch": "sinch.NotifySinch",
    "slack": "slack.NotifySlack",
    "sns": "sns.NotifySNS",
    "spugpush": "spugpush.NotifySpugpush",
    "telnyx": "telnyx.NotifyTelnyx",
    "tgram": "telegram.NotifyTelegram",
    "twilio": "twilio.NotifyTwilio",
    "vonage": "vonage.NotifyVonage",
    "wecombot": "wecombot.NotifyWeComBot",
    "wpush": "wpush.NotifyWPush",
    "wxpusher": "wxpusher.NotifyWxPusher",
}
PLUGINS: Mapping[str, str] = {**SELF_HOSTED, **HOSTED}
# With a topic alone: the service's own server.
_OR_PUBLIC = frozenset({"ntfy", "ntfys", "pushdeer", "pushdeers"})


def check(channel: str, address: str) -> None:
    """Whether an address has a form that can be used; raises ContactError naming the remedy, never the address."""
    if not address.isprintable() or any(part.isspace() for part in address) or len(address) > 2000:
        raise _wrong(
            "holds blanks or is too long: give one address of at most 2000 characters", "含空白或过长"
        )
    if channel == "smtp":
        name, _, domain = address.rpartition("@")
        if not name or not domain or len(address) > _MAIL_MOST or "@" in name:
            raise _wrong("is no mail address such as name@example.org", "不是电子邮件地址")
        return
    try:
        parts = urlsplit(address)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise _wrong("is no address with scheme and host", "不是带协议和主机的地址") from error
    if channel == "webhook":
        if parts.scheme not in ("http", "https") or not host:
            raise _wrong("must start with http:// or https:// and a host", "须以 http:// 或 https:// 开头")
    elif parts.scheme.lower() not in PLUGINS:
        listed = ", ".join(sorted(PLUGINS))
        raise _wrong(f"has a scheme that is not allowed; use one of {listed}", f"协议不在允许之列：{listed}")


def check_personal(channel: str, address: str) -> None:
    """What a person gives must not make us call into the district's network; raises ContactError."""
    check(channel, address)
    if channel == "apprise" and own_host(address) is not None:
        raise _wrong(
            "names a host of its own; an administrator can give it to the unit instead",
            "个人地址不能指向自建主机，可由管理员设为单位地址",
        )


def own_host(address: str) -> str | None:
    """The host that a gateway's address names, None where the service has its own."""
    parts = urlsplit(address)
    if parts.scheme.lower() not in SELF_HOSTED:
        return None
    if parts.scheme.lower() in _OR_PUBLIC and not parts.path.strip("/") and not parts.query:
        return None
    return parts.hostname or ""


def masked(channel: str, address: str) -> str:
    """What may be shown: a mail address as it is, of the others scheme and, for a webhook, host."""
    if channel == "smtp":
        return address
    try:
        parts = urlsplit(address)
        host = parts.hostname or ""
    except ValueError:
        return "…"
    return f"{parts.scheme}://{host}/…" if channel == "webhook" else f"{parts.scheme}://…"


async def resolve(host: str, port: int, allowed: Allowed) -> list[str]:
    """The addresses of a host, all of them allowed; raises DeliveryError. Connect to these, not to the name again."""
    try:
        return await outgoing.resolve(host, port, allowed)
    except OutgoingError as error:
        remedy = "" if error.retry else "; see CITY_WEBHOOK_PRIVATE and CITY_OUTGOING_HOSTS"
        raise DeliveryError(f"{error}{remedy}", retry=error.retry) from error


def _wrong(remedy: str, remedy_zh: str) -> ContactError:
    return ContactError("address", f"address: {remedy}", f"address：{remedy_zh}")
