#!/bin/sh
# Makes the secrets that docker compose hands to the services as files, each where there is none yet:
#   sh deploy/secrets.sh [folder]        (./secrets, or CITY_SECRETS_FOLDER of .env)
# The folder is its owner's alone. The files in it can be read by anybody who could enter: the services run as accounts of
# their own, and compose passes a file on as it is.
set -eu
folder=${1:-./secrets}
umask 077
mkdir -p "$folder"
chmod 700 "$folder"
for name in database_password serving_password mqtt_ingest_password mqtt_centre_password mqtt_devices_password mqtt_gateway_password api_token \
    grafana_database_password grafana_admin_password replication_password broker_cookie broker_admin_password; do
    file=$folder/$name
    [ -e "$file" ] && continue
    # 192 bits in hexadecimal: nothing that an address, a shell or SQL would read as anything else
    od -An -tx1 -N24 /dev/urandom | tr -d ' \n' >"$file.new"
    chmod 444 "$file.new"
    mv "$file.new" "$file"
    echo "made $file"
done
