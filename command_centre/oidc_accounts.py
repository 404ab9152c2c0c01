"""Whose account somebody from the identity provider opens.

By issuer and subject alone, never by a name or a mail address that the provider may give to another tomorrow. The first
log-in makes an account when a rule gives a role and the name is free; an account that is there already is linked by its
owner, who shows both: logged in here, they log in there. Of an account made by the provider the rules decide role,
scope and unit at each log-in; of a linked one an administrator does, here.
"""

import hashlib
import re
import secrets
from typing import Any

from psycopg import Connection

from city.storage import audit, identities, users
from command_centre import accounts, oidc_rules
from command_centre.oidc import Person, Provider, ProviderError
from command_centre.oidc_rules import Rule


def admit(connection: Connection[Any], provider: Provider, person: Person) -> users.User:
    """The account to open; raises ProviderError with why there is none."""
    rule = oidc_rules.decide(provider.rules, person.claims)
    known = identities.of_subject(connection, person.issuer, person.subject)
    if known is None:
        if rule is None:
            raise ProviderError("no_role", "no rule gives this person a role")
        return _make(connection, person, rule)
    user = users.by_id(connection, known.user_id)
    if user is None or user.disabled:
        raise ProviderError("no_role", "the account is disabled")
    if not known.managed:
        return user
    if rule is None:
        raise ProviderError("no_role", "no rule gives this person a role any more")
    return _follow(connection, user, rule)


def link(connection: Connection[Any], person: Person, user_id: int) -> users.User:
    """Tie an account to this person, whose owner has just logged in at both; raises ProviderError."""
    user = users.by_id(connection, user_id)
    if user is None or user.disabled:
        raise ProviderError("no_role", "the account is disabled")
    known = identities.of_subject(connection, person.issuer, person.subject)
    if known is not None and known.user_id == user_id:
        return user
    if not identities.link(connection, person.issuer, person.subject, user_id, managed=False):
        raise ProviderError("taken", "one of the two is linked to another")
    audit.record(connection, actor=f"user:{user_id}", action="user.linked", subject=f"user:{user_id}")
    return user


def _make(connection: Connection[Any], person: Person, rule: Rule) -> users.User:
    name = _name(person)
    user = users.add(
        connection,
        name=name,
        display_name=str(person.claims.get("name") or "")[:100],
        password_hash=accounts.hash_password(secrets.token_urlsafe(32)),  # nobody's: they log in over there
        role=rule.role,
        must_change=False,
        unit_id=_unit(connection, rule),
    )
    if user is None:
        raise ProviderError("taken", "an account of that name is here already; its owner links it")
    users.set_scope(connection, user.id, _scope(connection, rule))
    identities.link(connection, person.issuer, person.subject, user.id, managed=True)
    audit.record(
        connection,
        actor="system",
        action="user.created",
        subject=f"user:{user.id}",
        detail={"role": rule.role, "scope": rule.scope, "unit": rule.unit, "by_provider": True},
    )
    return user


def _follow(connection: Connection[Any], user: users.User, rule: Rule) -> users.User:
    """The account as the rules have it today."""
    unit_id = _unit(connection, rule)
    if (user.role, user.scope) == (rule.role, rule.scope) and unit_id in (None, user.unit_id):
        return user
    users.change(connection, user.name, role=rule.role, disabled=None, display_name=None, unit_id=unit_id)
    users.set_scope(connection, user.id, _scope(connection, rule))
    audit.record(
        connection,
        actor="system",
        action="user.changed",
        subject=f"user:{user.id}",
        detail={"role": rule.role, "scope": rule.scope, "unit": rule.unit, "by_provider": True},
    )
    found = users.by_id(connection, user.id)
    assert found is not None  # noqa: S101 - changed in this transaction
    return found


def _name(person: Person) -> str:
    given = str(person.claims.get("preferred_username") or "")
    if re.fullmatch(accounts.NAME, given):
        return given
    return "p-" + hashlib.sha256(f"{person.issuer}\0{person.subject}".encode()).hexdigest()[:12]


def _unit(connection: Connection[Any], rule: Rule) -> int | None:
    if rule.unit is None:
        return None
    unit_id = users.unit_by_code(connection, rule.unit)
    if unit_id is None:
        raise ProviderError("no_role", f"the rules name the unit {rule.unit}, which is not there")
    return unit_id


def _scope(connection: Connection[Any], rule: Rule) -> str | None:
    """Raises ProviderError rather than letting somebody reach further than the rules say."""
    if rule.scope is not None and not users.is_area(connection, rule.scope):
        raise ProviderError("no_role", f"the rules name the area {rule.scope}, which is not there")
    return rule.scope
