"""Resource paths of SensorThings 1.1 (18-088, clause 9.2): which entities, which property, in which form."""

from dataclasses import dataclass
from typing import Literal

from city.sensorthings.model import ENTITIES, Entity, SensorThingsError, key_of

LONGEST = 12  # steps


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """An entity set, reached by ``link`` from the step before; with ``key`` one of it."""

    entity: Entity
    link: tuple[tuple[str, str], ...] = ()
    key: tuple[object, ...] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Address:
    """``many``: a list is asked for. ``written``: as it came. ``name``: one property of one entity."""

    steps: tuple[Step, ...]
    many: bool
    written: str
    name: str | None = None
    form: Literal["json", "value", "ref"] = "json"

    @property
    def entity(self) -> Entity:
        """What is answered."""
        return self.steps[-1].entity


def parse(path: str) -> Address:
    """``Things(1)/Datastreams(32770)/Observations`` and the like; raises SensorThingsError (400, 404)."""
    parts = path.split("/")
    if len(parts) > LONGEST:
        raise SensorThingsError(400, "path", path, f"has more than {LONGEST} steps", "路径过长")
    form: Literal["json", "value", "ref"] = "json"
    if parts[-1] in ("$value", "$ref"):
        form = "value" if parts.pop() == "$value" else "ref"
    steps: list[Step] = []
    many, name = True, None
    for part in parts:
        if name is not None or (steps and many):
            raise _nowhere(part)
        link: tuple[tuple[str, str], ...] = ()
        word, key = _word(part)
        if not steps:
            entity, many = ENTITIES.get(word), True
        elif word in steps[-1].entity.navigations:
            way = steps[-1].entity.navigations[word]
            entity, link, many = ENTITIES[way.target], way.link, way.many
        elif word in steps[-1].entity.properties and key is None:
            name = word
            continue
        else:
            raise _nowhere(part)
        if entity is None or (key is not None and not many):
            raise _nowhere(part)
        steps.append(Step(entity=entity, link=link, key=None if key is None else _key(entity, key)))
        many = many and key is None
    if not steps or (form == "value" and name is None) or (form == "ref" and name is not None):
        raise _nowhere(parts[-1] if parts else path)
    return Address(steps=tuple(steps), many=many, written=path, name=name, form=form)


def _word(part: str) -> tuple[str, str | None]:
    word, opening, rest = part.partition("(")
    if not opening:
        return word, None
    if not rest.endswith(")"):
        raise _nowhere(part)
    key = rest[:-1]
    quoted = len(key) >= 2 and key[0] == key[-1] == "'"
    return word, key[1:-1] if quoted else key


def _key(entity: Entity, written: str) -> tuple[object, ...]:
    key = key_of(entity, written)
    if key is None:
        raise SensorThingsError(404, entity.singular, written, "there is none of this id", "没有该编号")
    return key


def _nowhere(part: str) -> SensorThingsError:
    return SensorThingsError(
        404, "path", part, f"leads nowhere; begin with {', '.join(ENTITIES)}", "没有该路径"
    )
