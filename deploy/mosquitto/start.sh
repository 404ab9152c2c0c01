#!/bin/sh
# Writes the three standing accounts into the password file, then becomes the broker. Other accounts stay as they are:
#   docker compose exec mosquitto mosquitto_passwd /mosquitto/data/passwords DEVICE-CODE   (asks for the password)
#   docker compose kill -s HUP mosquitto
set -eu
: "${MQTT_INGEST_PASSWORD:?the password of the account "ingest"; see .env.example}"
: "${MQTT_CENTRE_PASSWORD:?the password of the account "centre"; see .env.example}"
: "${MQTT_DEVICES_PASSWORD:?the password of the account "devices"; see .env.example}"
data=${MOSQUITTO_DATA:-/mosquitto/data}
conf=${MOSQUITTO_CONF:-/mosquitto/config/mosquitto.conf}

umask 077 # password hashes and queued readings are nobody else's to read
[ -e "$data/passwords" ] || : >"$data/passwords"
mosquitto_passwd -b "$data/passwords" ingest "$MQTT_INGEST_PASSWORD"
mosquitto_passwd -b "$data/passwords" centre "$MQTT_CENTRE_PASSWORD"
mosquitto_passwd -b "$data/passwords" devices "$MQTT_DEVICES_PASSWORD"
unset MQTT_INGEST_PASSWORD MQTT_CENTRE_PASSWORD MQTT_DEVICES_PASSWORD
exec mosquitto -c "$conf"
