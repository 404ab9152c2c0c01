"""The register's columns as the facts that rules need of each device."""

import math
from collections.abc import Iterator, Mapping

from city.devices import Register
from rules.fleet import DeviceFacts

Places = Mapping[int, Mapping[str, str]]  # area codes by layer, by the id of the cell
_NOWHERE: Mapping[str, str] = {}


def facts_of(register: Register, places: Places) -> Iterator[DeviceFacts]:
    """Every device of the register; NaN and 0 in its columns stand for unknown."""
    for row in range(len(register)):
        yield DeviceFacts(
            device_id=int(register.id[row]),
            code=register.code[row],
            kind=register.kind[row],
            model=register.model[row],
            tags=register.tags[row],
            places=places.get(int(register.cell_id[row]), _NOWHERE),
            gateway_id=int(register.gateway_id[row]),
            expected_interval_s=int(register.expected_interval_s[row]) or None,
            in_service=register.registration[row] != "retired"
            and register.service_state[row] != "out_of_service",
            warning_m=_given(register.warning_m[row]),
            guaranteed_m=_given(register.guaranteed_m[row]),
            highest_m=_given(register.highest_m[row]),
            known_from_us=int(register.registered_us[row]),
            last_heard_us=int(register.last_heard_us[row]) or None,
        )


def _given(level: float) -> float | None:
    return None if math.isnan(level) else float(level)
