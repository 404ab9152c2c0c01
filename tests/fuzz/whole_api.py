"""Schemathesis over the API's own description, as each role and as nobody: ``python -m tests.fuzz.whole_api``.

Bodies, parameters and headers are drawn from the description (and beside it), sent to a centre that runs on a town of
two streets, and every answer is held against it: no 5xx, a status and a body as described, and nothing of the street
that the account does not reach. The paths name rows that are there, half of the time of the wrong street.
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from schemathesis.checks import CHECKS

from command_centre.api.access import TABLE, Rule
from command_centre.api.app import routes
from command_centre.api.reaching import kind_of
from tests.integration.running_centre import Centre, running
from tests.integration.two_streets import ROLES, WEST, Street, account, build, lay

# Beside no 5xx: what was answered is what was described.
HELD_TO = ("status_code_conformance", "content_type_conformance", "response_schema_conformance")
NOBODY = "nobody"
# Their own sessions and accounts would end under those who ask; a test message leaves the machine.
_LEFT_OUT = ("session", "second-factor", "oidc", "contacts/test")


@schemathesis.serializer("application/toml", "application/zip", "text/csv", "application/octet-stream")
def as_it_is(_context: Any, value: Any) -> bytes:
    """Of files, whatever was drawn."""
    return value if isinstance(value, bytes) else str(value).encode(errors="replace")


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """``faults`` by what was wrong, with the first example of each."""

    asked: Counter[int] = field(default_factory=Counter)
    faults: dict[str, str] = field(default_factory=dict)


def operations() -> list[Any]:
    """Of the description, those that may be called by the thousand."""
    description = json.loads(json.dumps(routes().openapi()))
    schema = schemathesis.openapi.from_dict(description)
    every = [one.ok() for one in schema.get_all_operations()]
    return [one for one in every if not any(part in one.path for part in _LEFT_OUT)]


def named(case: Any, streets: Sequence[Street], turn: int) -> None:
    """Let the path name something that is there, of the one street or the other, in three cases of four."""
    if turn % 4 == 3 or not case.path_parameters:
        return
    street = streets[turn % len(streets)]
    nouns = {"incident_id": "incidents", "alarm_id": "alarms", "tracking": "reports", "digest": "photos",
             "order_id": "orders", "task_id": "tasks", "notification_id": "notifications"}  # fmt: skip
    for name in case.path_parameters:
        before = case.operation.path.split("{" + name)[0].strip("/").split("/")[-1]
        noun = nouns.get(name) or {"stations": "devices"}.get(before, before)
        if noun in street.named:
            case.path_parameters[name] = street.named[noun]


def sent(  # what is asked, of whom, how often
    centre: Centre,
    one: Any,
    cookies: dict[str, str],
    streets: Sequence[Street],
    examples: int,
    seed: int,
    found: Found,
) -> None:
    """One operation, ``examples`` times, as one caller."""
    needs = TABLE.get((one.method.upper(), one.path), "viewer")
    rule = Rule(method=one.method.upper(), path=one.path, needs=needs)
    secret = bool(cookies) and kind_of(rule) not in (None, "open") and needs != "wall"
    turn = iter(range(10**9))

    @seeded(seed)
    @settings(max_examples=examples, database=None, deadline=None, phases=[Phase.generate],
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(case=one.as_strategy())
    def ask(case: Any) -> None:
        named(case, streets, next(turn))
        response = case.call(base_url=centre.base, cookies=cookies, timeout=60)
        found.asked[response.status_code] += 1
        told = f"{one.method.upper()} {one.path}"
        if response.status_code >= 500 and not (response.status_code == 503 and one.path == "/readyz"):
            found.faults.setdefault(f"{told}: {response.status_code}", case.as_curl_command()[:600])
            return
        if (
            secret
            and response.status_code < 400
            and WEST.encode() in response.content
            and one.method.upper() == "GET"
        ):
            found.faults.setdefault(f"{told}: tells of the other street", response.text[:300])
        for check in HELD_TO:
            try:
                case.validate_response(response, checks=[CHECKS.get_one(check)])
            except AssertionError as wrong:
                words = " ".join(str(wrong).split())[:400]
                found.faults.setdefault(f"{told}: {response.status_code}: {check}", words)
            except BaseExceptionGroup as several:
                words = " ".join(str(several.exceptions[0]).split())[:400]
                found.faults.setdefault(f"{told}: {response.status_code}: {check}", words)

    ask()


def callers(centre: Centre, only: Sequence[str] = ()) -> Iterator[tuple[str, dict[str, str]]]:
    """Nobody, and everybody of the east."""
    for role in (NOBODY, *ROLES):
        if only and role not in only:
            continue
        unit = "fire-east" if role == "handler" else None
        yield role, {} if role == NOBODY else account(centre, role, scope="s1", unit=unit)


def told(role: str, faults: dict[str, str]) -> None:
    """At once: a run that is broken off has said what it found until then."""
    for fault, example in sorted(faults.items()):
        sys.stdout.write(f"{role}: {fault}\n    {example}\n")
    sys.stdout.flush()


def main(arguments: Sequence[str]) -> int:
    """Exit code 1 when something was found."""
    from tests.conftest import _database, _migrated_template  # servers only where they are wanted
    from tests.servers.postgres import PostgresServer, wheel_binaries  # as above

    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.whole_api", description=__doc__)
    parser.add_argument("--examples", type=int, default=100, help="of each operation as each caller")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--role", action="append", default=[], help="one of them, or nobody; left out: all")
    parser.add_argument("--path", default="", help="only operations whose path has this in it")
    asked = parser.parse_args(arguments)
    with closing(PostgresServer(wheel_binaries())) as server:
        server.start()
        template = _migrated_template(server)
        worst = 0
        for role in asked.role or (NOBODY, *ROLES):
            found = Found()
            with _database(server, template) as url, running(lay(url)) as centre:
                streets = build(centre)
                for _, cookies in callers(centre, [role]):
                    for one in operations():
                        if asked.path in one.path:
                            before = set(found.faults)
                            sent(centre, one, cookies, streets, asked.examples, asked.seed, found)
                            told(role, {name: found.faults[name] for name in found.faults.keys() - before})
            sys.stdout.write(
                f"{role}: {sum(found.asked.values())} calls, {dict(sorted(found.asked.items()))},"
                f" {len(found.faults)} faults\n"
            )
            worst = max(worst, int(bool(found.faults)))
    return worst


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
