#!/bin/sh
# Puts the broker's password and access files together, runs the broker, and lets it read them again when they change:
#   the three standing accounts, with the passwords of the environment
#   accounts made by hand:   docker compose exec mosquitto mosquitto_passwd /mosquitto/data/passwords NAME
#   devices of the register: /mosquitto/register/{passwords,acl}, which the centre writes (CITY_BROKER_FILES)
#   TLS:                     /mosquitto/tls/{server.pem,server.key} open port 8883; with {ca.pem,crl.pem} beside them
#                            port 8884 asks for a client certificate, whose common name is the account
# A change is taken up within two seconds, without a restart; connections that are still good stay open.
set -eu
# A password may come as a file instead: MQTT_INGEST_PASSWORD_FILE names the file of MQTT_INGEST_PASSWORD.
from_file() { if [ -n "$2" ]; then cat "$2"; else printf %s "$1"; fi; }
MQTT_INGEST_PASSWORD=$(from_file "${MQTT_INGEST_PASSWORD:-}" "${MQTT_INGEST_PASSWORD_FILE:-}")
MQTT_CENTRE_PASSWORD=$(from_file "${MQTT_CENTRE_PASSWORD:-}" "${MQTT_CENTRE_PASSWORD_FILE:-}")
MQTT_DEVICES_PASSWORD=$(from_file "${MQTT_DEVICES_PASSWORD:-}" "${MQTT_DEVICES_PASSWORD_FILE:-}")
: "${MQTT_INGEST_PASSWORD:?the password of the account "ingest"; see deploy/secrets.sh}"
: "${MQTT_CENTRE_PASSWORD:?the password of the account "centre"; see deploy/secrets.sh}"
: "${MQTT_DEVICES_PASSWORD:?the password of the account "devices"; see deploy/secrets.sh}"
data=${MOSQUITTO_DATA:-/mosquitto/data}
conf=${MOSQUITTO_CONF:-/mosquitto/config/mosquitto.conf}
register=${MOSQUITTO_REGISTER:-/mosquitto/register}
look=${MOSQUITTO_LOOK:-2}
tls=${MOSQUITTO_TLS:-/mosquitto/tls}
standing=$(dirname "$conf")/acl
live=$data/live

umask 077 # password hashes and queued readings are nobody else's to read
mkdir -p "$live" "$live/conf.d"
[ -e "$data/passwords" ] || : >"$data/passwords"
# printf is the shell's own: a password never stands among a process's arguments.
{
    printf 'ingest:%s\ncentre:%s\n' "$MQTT_INGEST_PASSWORD" "$MQTT_CENTRE_PASSWORD"
    if [ "${MQTT_SHARED_DEVICES:-yes}" != no ]; then printf 'devices:%s\n' "$MQTT_DEVICES_PASSWORD"; fi
} >"$live/standing"
mosquitto_passwd -U "$live/standing"
# For the health check: an argument could be read by every process here.
printf -- '-u ingest\n-P %s\n' "$MQTT_INGEST_PASSWORD" >"$live/mosquitto_sub"
unset MQTT_INGEST_PASSWORD MQTT_CENTRE_PASSWORD MQTT_DEVICES_PASSWORD

# The register's part only when it is whole: its last line says so. Else what was taken last stays good.
take() { # $1 = file of the register, $2 = where it is kept
    if [ -r "$1" ] && [ "$(tail -n 1 "$1")" = "# end" ]; then cat "$1" >"$2.new" && mv "$2.new" "$2"; fi
    [ -e "$2" ] || : >"$2"
}
compose() {
    take "$register/acl" "$live/acl.register"
    take "$register/passwords" "$live/passwords.register"
    cat "$standing" "$live/acl.register" >"$live/acl.new"
    {
        cat "$live/standing"
        grep -v -E '^(ingest|centre|devices):' "$data/passwords" || :
        cat "$live/passwords.register"
    } >"$live/passwords.new"
    mv "$live/acl.new" "$live/acl"
    mv "$live/passwords.new" "$live/passwords"
}
stamp() { ls -li "$standing" "$data/passwords" "$register/acl" "$register/passwords" "$tls" 2>/dev/null || :; }

# Of TLS 1.2 only what has forward secrecy and is authenticated (RFC 9325, 4.2); TLS 1.3 has nothing else.
ciphers=ECDHE+AESGCM:ECDHE+CHACHA20:ECDHE+AESCCM:!AESCCM8
listeners() {
    [ -r "$tls/server.pem" ] || return 0
    printf 'listener %s\ncertfile %s\nkeyfile %s\ntls_version tlsv1.2\nciphers %s\n' \
        "${MOSQUITTO_TLS_LISTENER:-8883}" "$tls/server.pem" "$tls/server.key" "$ciphers"
    [ -r "$tls/ca.pem" ] || return 0
    printf 'listener %s\ncertfile %s\nkeyfile %s\ntls_version tlsv1.2\nciphers %s\n' \
        "${MOSQUITTO_CERTIFICATE_LISTENER:-8884}" "$tls/server.pem" "$tls/server.key" "$ciphers"
    printf 'cafile %s\nrequire_certificate true\nuse_identity_as_username true\n' "$tls/ca.pem"
    if [ -r "$tls/crl.pem" ]; then printf 'crlfile %s\n' "$tls/crl.pem"; fi
}

seen=$(stamp)
compose
listeners >"$live/conf.d/tls.conf"
mosquitto -c "$conf" &
broker=$!
nap=
trap 'kill -TERM $broker 2>/dev/null; kill $nap 2>/dev/null; wait $broker; exit $?' TERM INT
trap 'seen=again' HUP
while kill -0 $broker 2>/dev/null; do
    sleep "$look" &
    nap=$!
    wait $nap || : # a signal ends the wait at once
    now=$(stamp)
    if [ "$now" != "$seen" ]; then
        seen=$now
        compose
        kill -HUP $broker 2>/dev/null || :
    fi
done
wait $broker
