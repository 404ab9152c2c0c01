"""Whether the centre is ready: what `/readyz` answers."""

from typing_extensions import TypedDict


class Readiness(TypedDict):
    """``checks`` says ``ok`` or what is missing, by name; ``lag_s`` is how late readings are, None before the first."""

    ready: bool
    checks: dict[str, str]
    lag_s: float | None
    failing: list[str]
