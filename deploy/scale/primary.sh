#!/bin/sh
# Once, when the primary's data folder is made: the account that the replica copies with, and from where it may come.
# The timeouts are the account's, since pgbouncer passes no `options` of a connection on.
set -eu
{
    printf '\\set password %s\n' "$(cat /run/secrets/replication_password)"
    cat <<'SQL'
CREATE ROLE replica LOGIN REPLICATION PASSWORD :'password';
SELECT pg_create_physical_replication_slot('replica');
ALTER ROLE city SET timezone = 'UTC';
ALTER ROLE city SET search_path = public;
ALTER ROLE city SET statement_timeout = '30s';
ALTER ROLE city SET lock_timeout = '10s';
ALTER ROLE city SET idle_in_transaction_session_timeout = '30s';
ALTER ROLE city SET client_connection_check_interval = '5s';
-- From the next start on: while the folder is made there is nobody to wait for.
ALTER SYSTEM SET synchronous_standby_names = 'FIRST 1 (replica)';
SQL
} | psql -q -v ON_ERROR_STOP=1 -U "$POSTGRES_USER" -d "$POSTGRES_DB" -f -
printf 'host replication replica samenet scram-sha-256\n' >>"$PGDATA/pg_hba.conf"
