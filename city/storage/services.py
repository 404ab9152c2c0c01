"""The account that the serving processes sign in with: rows, and nothing of the schema (migration 0047)."""

from urllib.parse import unquote, urlsplit

from psycopg import errors, sql

from city.errors import CityError
from city.storage.database import connect, translated

ROLE = "city_services"
# What a connection of ours asks for at its start, which a pooler in between does not pass on.
_STANDING = {
    "timezone": "UTC",
    "search_path": "public",
    "statement_timeout": "30s",
    "lock_timeout": "10s",
    "idle_in_transaction_session_timeout": "30s",
    "client_connection_check_interval": "5s",
}


def ensure(owner_url: str, services_url: str) -> bool:
    """Make the account of ``services_url`` with its password, or give it that password; False where both are one.

    Raises CityError when the owner may not make accounts: the statements are then an administrator's to run.
    """
    account = urlsplit(services_url)
    name, password = unquote(account.username or ""), unquote(account.password or "")
    owner = unquote(urlsplit(owner_url).username or "")
    if not name or name == owner:
        return False
    if not password:
        raise CityError(
            f"CITY_DATABASE_URL: the account {name} has no password; give CITY_DATABASE_PASSWORD_FILE to"
            " city migrate too"
        )
    with connect(owner_url, application="city migrate") as connection, translated():
        # The server is told what proves the password and not the password, which its log could hold.
        proof = connection.pgconn.encrypt_password(
            password.encode(), name.encode(), b"scram-sha-256"
        ).decode()
        found = connection.execute(
            "SELECT pg_has_role(oid, %s, 'MEMBER') FROM pg_roles WHERE rolname = %s", [ROLE, name]
        ).fetchone()
        known = found is not None
        try:
            connection.execute(
                sql.SQL("{} ROLE {} LOGIN PASSWORD {} NOSUPERUSER NOCREATEDB NOCREATEROLE").format(
                    sql.SQL("ALTER" if known else "CREATE"), sql.Identifier(name), sql.Literal(proof)
                )
            )
            connection.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(ROLE), sql.Identifier(name)))
            for setting, value in _STANDING.items():
                connection.execute(
                    sql.SQL("ALTER ROLE {} SET {} = {}").format(
                        sql.Identifier(name), sql.Identifier(setting), sql.Literal(value)
                    )
                )
        except errors.InsufficientPrivilege as error:
            if found and found[0]:  # whoever made it looks after its password: an operator of databases
                return False
            raise CityError(
                f"CITY_DATABASE_OWNER_URL: {owner} may not make accounts; as a superuser run"
                f' CREATE ROLE "{name}" LOGIN PASSWORD \'…\'; GRANT {ROLE} TO "{name}"'
            ) from error
    return True


def owns_schema(url: str) -> bool:
    """Whether the account of ``url`` could change the schema: it owns a table of ours, or is a superuser."""
    with connect(url, application="city doctor") as connection, translated():
        row = connection.execute(
            "SELECT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)"
            " OR pg_has_role(current_user, relowner, 'USAGE') FROM pg_class WHERE oid = to_regclass('incidents')"
        ).fetchone()
    return bool(row and row[0])
