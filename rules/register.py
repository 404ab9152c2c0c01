"""The register as the facts that rules need of each device."""

import math
from collections.abc import Iterator, Mapping

from city.devices import DeviceRow, Register
from rules.fleet import DeviceFacts

Places = Mapping[int, Mapping[str, str]]  # area codes by layer, by the id of the cell
_NOWHERE: Mapping[str, str] = {}


def facts_of(register: Register, places: Places) -> Iterator[DeviceFacts]:
    """Every device of the register; NaN and 0 in its columns stand for unknown."""
    columns = zip(
        register.id.tolist(),
        register.code,
        register.kind,
        register.cell_id.tolist(),
        register.expected_interval_s.tolist(),
        register.registration,
        register.service_state,
        register.warning_m.tolist(),
        register.guaranteed_m.tolist(),
        register.highest_m.tolist(),
        register.registered_us.tolist(),
        register.last_heard_us.tolist(),
        register.model,
        register.tags,
        register.gateway_id.tolist(),
        strict=True,
    )
    for (
        device,
        code,
        kind,
        cell,
        interval,
        registration,
        service,
        *levels,
        known,
        heard,
        model,
        tags,
        gateway,
    ) in columns:
        warning, guaranteed, highest = levels
        yield DeviceFacts(
            device_id=device,
            code=code,
            kind=kind,
            model=model,
            tags=tags,
            places=places.get(cell, _NOWHERE),
            gateway_id=gateway,
            expected_interval_s=interval or None,
            in_service=registration != "retired" and service != "out_of_service",
            warning_m=_given(warning),
            guaranteed_m=_given(guaranteed),
            highest_m=_given(highest),
            known_from_us=known,
            last_heard_us=heard or None,
        )


def facts_of_row(row: DeviceRow, places: Places) -> DeviceFacts:
    """The same of one device that was just registered."""
    return DeviceFacts(
        device_id=row.id,
        code=row.code,
        kind=row.kind,
        model=row.model,
        tags=frozenset(row.tags),
        places=places.get(row.cell_id or 0, _NOWHERE),
        gateway_id=row.gateway_id or 0,
        expected_interval_s=row.expected_interval_s,
        in_service=row.registration != "retired" and row.service_state != "out_of_service",
        warning_m=row.warning_m,
        guaranteed_m=row.guaranteed_m,
        highest_m=row.highest_m,
        known_from_us=row.registered_us,
        last_heard_us=row.last_heard_us or None,
    )


def _given(level: float) -> float | None:
    return None if math.isnan(level) else level
