#!/bin/sh
# Once, when the primary's data folder is made: the account that the replica copies with, and from where it may come.
set -eu
{
    printf '\\set password %s\n' "$(cat /run/secrets/replication_password)"
    cat <<'SQL'
CREATE ROLE replica LOGIN REPLICATION PASSWORD :'password';
SELECT pg_create_physical_replication_slot('replica');
-- From the next start on: while the folder is made there is nobody to wait for.
ALTER SYSTEM SET synchronous_standby_names = 'FIRST 1 (replica)';
SQL
} | psql -q -v ON_ERROR_STOP=1 -U "$POSTGRES_USER" -d "$POSTGRES_DB" -f -
printf 'host replication replica samenet scram-sha-256\n' >>"$PGDATA/pg_hba.conf"
