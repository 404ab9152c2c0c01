#!/bin/sh
# A copy of the primary at the first start, then a standby that follows it under the name the primary waits for.
set -eu
umask 077
export PGPASSFILE=/var/lib/postgresql/replica.pgpass
printf '*:*:*:replica:%s\n' "$(cat /run/secrets/replication_password)" >"$PGPASSFILE"
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    until pg_isready -q -h timescaledb -U city; do sleep 1; done
    pg_basebackup -h timescaledb -U replica -D "$PGDATA" -R -X stream -S replica -c fast \
        -d "application_name=replica passfile=$PGPASSFILE"
fi
# As many as the primary's, which are on its command line; a standby refuses to run with fewer. It waits for nobody: with
# the primary's copied synchronous_standby_names it would wait for itself once it is promoted.
exec postgres -c hot_standby=on -c max_connections=200 -c max_wal_senders=10 -c synchronous_standby_names=
