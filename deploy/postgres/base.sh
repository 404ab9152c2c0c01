#!/bin/sh
# base.sh ARCHIVE KEEP: a base backup below ARCHIVE/base, and away with those beyond the newest KEEP and the log that
# only they needed. Reaches the server by PGHOST, PGUSER, … or by its own socket.
set -eu
archive=$1 keep=$2
umask 077
mkdir -p "$archive/base"
rm -rf "$archive"/base/*.partial
name=$(date -u +%Y%m%dT%H%M%SZ)
while [ -e "$archive/base/$name" ]; do
    sleep 1
    name=$(date -u +%Y%m%dT%H%M%SZ)
done
pg_basebackup --pgdata="$archive/base/$name.partial" --format=tar --gzip --wal-method=fetch --checkpoint=fast --no-password
mv "$archive/base/$name.partial" "$archive/base/$name"
# shellcheck disable=SC2012 # names of our own making
ls -1 "$archive/base" | sort -r | tail -n "+$((keep + 1))" | while read -r old; do rm -rf "$archive/base/$old"; done
oldest=$(ls -1 "$archive/base" | sort | head -n 1)
needed=$(tar -xzOf "$archive/base/$oldest/base.tar.gz" backup_label | sed -n 's/^START WAL LOCATION: .*(file \([0-9A-F]*\))$/\1/p')
pg_archivecleanup "$archive" "$needed"
echo "$archive/base/$name; the log is kept from $needed on"
