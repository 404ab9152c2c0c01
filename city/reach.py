"""How far somebody reaches: the place within which and the unit for which they see and act. Pure.

What of the database lies within is the database's own to say: ``city.storage.reach`` hands this to the policies of
migration 0035, so that no query has to remember it.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Reach:
    """``scope`` is an area's code, None the whole district; ``unit_id`` whom they act for.

    ``held``: to the unit, so of incidents only those it has to do with, wherever they are. ``actor`` is how histories
    name them, since what somebody filed stays theirs to see. ``incident`` is the one that a request is about: it was
    within reach when the request came, and the answer may tell how it left.
    """

    scope: str | None = None
    unit_id: int | None = None
    held: bool = False
    actor: str = ""
    incident: int | None = None

    @property
    def whole(self) -> bool:
        """Everything there is."""
        return self.scope is None and not self.held


WHOLE = Reach()


def of_account(role: str, scope: str | None, unit_id: int | None, actor: str) -> Reach:
    """A handler is held to the unit (处置单位); everybody else reaches an area, and what their unit has beside it."""
    return Reach(scope=scope, unit_id=unit_id, held=role == "handler", actor=actor)
