#!/bin/sh
# recover.sh BASE ARCHIVE DATA TIME: make the empty folder DATA a server's data as of TIME ('2026-11-22 03:15:00+08').
# Run it as the user that PostgreSQL runs as. The next start of PostgreSQL on it reads the log up to there and opens for writing. ARCHIVE is where that server sees it.
set -eu
base=$1 archive=$2 data=$3 time=$4
if [ -n "$(ls -A "$data" 2>/dev/null)" ]; then
    echo "recover: $data is not empty; nothing was changed" >&2
    exit 1
fi
umask 077
mkdir -p "$data"
tar -xozf "$base/base.tar.gz" -C "$data"
rm -rf "$data"/pg_wal/*
[ ! -f "$base/pg_wal.tar.gz" ] || tar -xozf "$base/pg_wal.tar.gz" -C "$data/pg_wal"
cat >> "$data/postgresql.auto.conf" <<END
restore_command = 'cp "$archive/%f" "%p"'
recovery_target_time = '$time'
recovery_target_action = 'promote'
END
touch "$data/recovery.signal"
chmod 700 "$data"
