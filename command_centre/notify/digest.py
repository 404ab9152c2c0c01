"""One digest instead of a storm: what it lists, of messages that would have gone one by one to one receiver."""

from collections.abc import Mapping, Sequence

MOST_IN_ONE = 200  # incidents locked at once when its receipt is written

_LISTED = (
    "incident", "number", "purpose", "class", "event_level", "category", "category_name", "category_name_en",
    "street", "community", "cell", "due_at", "unit", "unit_name", "exercise",
)  # fmt: skip


def compose(bodies: Sequence[Mapping[str, object]]) -> dict[str, object]:
    """The digest's body: ``count`` messages, ``items`` by class and deadline, one for each incident and purpose."""
    items = {
        (body.get("incident"), body.get("purpose")): {name: body.get(name) for name in _LISTED}
        for body in bodies
    }
    listed = sorted(
        items.values(), key=lambda item: (str(item["class"]), str(item["due_at"] or "9"), str(item["number"]))
    )
    return {
        "purpose": "digest",
        "count": len(bodies),
        "items": listed,
        "exercise": bool(listed) and all(item["exercise"] for item in listed),
    }
