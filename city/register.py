"""The register as people edit it: one entry with its version, and what to propose for a device that was only heard."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Literal

from city.areas import Geometry
from city.device_files import LifeState
from city.devices import Registration
from city.units import Unit

Origin = Literal["import", "topic", "person"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Edited:
    """By whom and when an entry was changed here after the files said it; both None = it is as the files say."""

    at: datetime | None = None
    by: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class DeviceEntry:
    """A device as its list has it. ``cell`` and ``gateway`` are codes; ``expected_interval_s`` None = its kind's."""

    id: int
    code: str
    kind: str
    name: str
    cell: str | None
    cell_id: int | None
    longitude: float | None
    latitude: float | None
    model: str
    owner_unit: str
    maintainer_unit: str
    gateway: str | None
    address: str
    expected_interval_s: int | None
    tags: Sequence[str]
    registration: Registration
    origin: Origin
    version: int
    edited_at: datetime | None
    edited_by: str | None
    vendor: str = ""
    profile: str | None = None
    life_state: LifeState = "in_service"
    installed_on: date | None = None
    calibrated_on: date | None = None
    calibration_due: date | None = None
    building: str | None = None
    facility: str | None = None
    names: Sequence[str] = ()  # family:name, as foreign senders call it
    owner: str | None = None  # codes of the units that the two texts mean, where they mean any
    maintainer: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class UnitEntry:
    """A unit with what its list says, whether it works, and its version."""

    unit: Unit
    active: bool
    version: int
    edited: Edited = field(default_factory=Edited)


@dataclass(frozen=True, kw_only=True, slots=True)
class AreaEntry:
    """An area that is valid now. ``drawn_at`` is since when it has this name, parent and outline."""

    id: int
    layer: str
    code: str
    name: str
    name_en: str
    parent_id: int | None
    geometry: Geometry | None
    origin: Origin
    version: int
    drawn_at: datetime
    edited_at: datetime | None
    edited_by: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Sibling:
    """A registered device of the same kind; ``same_cell`` as the one that is asked about."""

    code: str
    same_cell: bool
    model: str
    owner_unit: str
    maintainer_unit: str
    gateway: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Proposal:
    """What a field of an unclaimed device probably is, and how many of its kind say so."""

    field: Literal["kind", "cell", "model", "owner_unit", "maintainer_unit", "gateway", "expected_interval_s"]
    value: str | int
    votes: int
    of: int
    because: Literal["cell", "prefix", "kind", "heard", "gateway", "metric"]


OTHER_KIND = "sensor"  # of what no profile knew
LEAST_SHARE = 0.5  # of the siblings must agree, or nothing is proposed


def propose(
    code: str, siblings: Sequence[Sibling], gaps_s: Sequence[float], usual_interval_s: int | None
) -> list[Proposal]:
    """Fields for an unclaimed device: as its kind in the same cell has them, else those numbered like it, else all.

    ``gaps_s`` are seconds between its last reports; an interval is proposed only where it differs from its kind's.
    """
    found = []
    near = [one for one in siblings if one.same_cell]
    alike = [one for one in siblings if _prefix(one.code) == _prefix(code)]
    for name in ("model", "owner_unit", "maintainer_unit", "gateway"):
        for group, because in ((near, "cell"), (alike, "prefix"), (siblings, "kind")):
            values = Counter(value for one in group if (value := getattr(one, name)))
            if not values:
                continue
            value, votes = values.most_common(1)[0]
            if votes / len(group) >= LEAST_SHARE:
                found.append(
                    Proposal(field=name, value=value, votes=votes, of=len(group), because=because)  # type: ignore[arg-type]  # words of the two tuples above
                )
                break
    if interval := _interval(gaps_s, usual_interval_s):
        found.append(
            Proposal(
                field="expected_interval_s",
                value=interval,
                votes=len(gaps_s),
                of=len(gaps_s),
                because="heard",
            )
        )
    return found


@dataclass(frozen=True, kw_only=True, slots=True)
class Heard:
    """What tells of kind and place: kinds whose main metric it reports, and cells of devices that share its gateway.

    ``cells`` holds the gateway's own cell first where it has one.
    """

    kinds: Sequence[str] = ()
    cells: Sequence[str] = ()


def propose_place(kind: str, cell: str | None, heard: Heard) -> list[Proposal]:
    """Kind and cell where it has none: the one kind that fits, and where its gateway and what it serves stand."""
    found = []
    if kind == OTHER_KIND and len(set(heard.kinds)) == 1:
        found.append(Proposal(field="kind", value=heard.kinds[0], votes=1, of=1, because="metric"))
    if cell is None and heard.cells:
        value, votes = Counter(heard.cells).most_common(1)[0]
        if votes / len(heard.cells) >= LEAST_SHARE:
            found.append(
                Proposal(field="cell", value=value, votes=votes, of=len(heard.cells), because="gateway")
            )
    return found


def _prefix(code: str) -> str:
    return code.rstrip("0123456789")


def _interval(gaps_s: Sequence[float], usual: int | None) -> int | None:
    """The middle gap in round seconds, where there are enough of them and they differ from what is usual."""
    if len(gaps_s) < 5:
        return None
    middle = sorted(gaps_s)[len(gaps_s) // 2]
    step = 1 if middle < 30 else 5 if middle < 300 else 60
    rounded = max(1, round(middle / step) * step)
    if usual is not None and abs(rounded - usual) <= 0.1 * usual:
        return None
    return rounded
