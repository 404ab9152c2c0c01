#!/bin/sh
# The accounts of devices, ingest and centre at the cluster, made once and given today's passwords; read from standard
# input, so that none stands among a process's arguments.
set -eu
umask 077
printf %s "$(cat /run/secrets/broker_cookie)" >"$HOME/.erlang.cookie"
chmod 400 "$HOME/.erlang.cookie"
ctl() { rabbitmqctl --quiet --node rabbit@rabbitmq-1 "$@"; }
until ctl await_online_nodes 3 --timeout 60; do sleep 2; done
account() { # name, file of its password, configure, write, read: regular expressions of what it may touch
    if ctl list_users | grep -q "^$1[[:space:]]"; then
        ctl change_password "$1" <"$2"
    else
        ctl add_user "$1" <"$2"
    fi
    ctl set_permissions "$1" "$3" "$4" "$5"
}
# A device publishes to city.in and has an MQTT session of its own; nothing else is its to write or read.
account devices /run/secrets/mqtt_devices_password '^mqtt-subscription-' '^(city\.in|mqtt-subscription-.*)$' '^mqtt-subscription-'
ctl set_topic_permissions devices city.in '^city\.' '^$'
# What stations and feeds say, by `city gateway`: under their families' topics and no other.
account gateway /run/secrets/mqtt_gateway_password '^mqtt-subscription-' '^(city\.in|mqtt-subscription-.*)$' '^mqtt-subscription-'
ctl set_topic_permissions gateway city.in '^(sl651|gb26875|hj212|nwps|environment_agency)\.' '^$'
# Ingest reads the streams, and nothing more.
account ingest /run/secrets/mqtt_ingest_password '^$' '^$' '^events(-.*)?$'
account centre /run/secrets/mqtt_centre_password '^mqtt-subscription-' '^(city\.in|mqtt-subscription-.*)$' '^(city\.in|mqtt-subscription-.*)$'
ctl set_topic_permissions centre city.in '^out\.' '.*'
