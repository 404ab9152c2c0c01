"""Whether the simulators came with this package: production's leave them out."""

from collections.abc import Iterator
from contextlib import contextmanager

from city.errors import CityError


@contextmanager
def asked(what: str) -> Iterator[None]:
    """Around an import of the simulators: raises CityError that says how to get them where they are left out."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "simulators":
            raise
        raise CityError(
            f"{what} needs the simulators, and this package was built without them: docker compose build --build-arg "
            "SIMULATORS=yes, or CITY_SIMULATORS=yes pip wheel .; a real district needs CITY_CONFIG"
        ) from None
