#!/bin/sh
# Its account file from the database's password, then pgbouncer itself.
set -eu
umask 077
printf '"city_serving" "%s"\n' "$(cat /run/secrets/serving_password)" >/tmp/users.txt
exec pgbouncer /etc/pgbouncer/city.ini
