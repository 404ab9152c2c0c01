#!/bin/sh
# Starts one node with the cluster's own secret and an administrator, both from files; arguments are none of them.
set -eu
umask 077
conf=/etc/rabbitmq/conf.d/90-administrator.conf
printf 'default_user = city-admin\ndefault_pass = %s\n' "$(cat /run/secrets/broker_admin_password)" >"$conf"
printf %s "$(cat /run/secrets/broker_cookie)" >/var/lib/rabbitmq/.erlang.cookie
printf 'stream.advertised_host = %s\nstream.advertised_port = 5552\n' "$HOSTNAME" \
    >/etc/rabbitmq/conf.d/50-advertised.conf
chmod 400 /var/lib/rabbitmq/.erlang.cookie
chown -R rabbitmq:rabbitmq /var/lib/rabbitmq /etc/rabbitmq/conf.d
exec docker-entrypoint.sh rabbitmq-server
