-- The account dashboards read with: the views of schema grafana, and nothing else. Repeatable.
-- psql "$URL" -v ON_ERROR_STOP=1 -v password=… -f role.sql   (a password, so that it never stands in a file)
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'grafana') THEN CREATE ROLE grafana; END IF;
END $$;
ALTER ROLE grafana WITH LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION CONNECTION LIMIT 20 PASSWORD :'password';
-- A dashboard that asks for everything must not stand in the way of alarms.
ALTER ROLE grafana SET default_transaction_read_only = on;
ALTER ROLE grafana SET statement_timeout = '20s';
ALTER ROLE grafana SET work_mem = '16MB';
ALTER ROLE grafana SET search_path = grafana;
GRANT USAGE ON SCHEMA grafana TO grafana;
GRANT SELECT ON ALL TABLES IN SCHEMA grafana TO grafana;
