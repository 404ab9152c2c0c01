-- The account with which the city's centre reads a district: the views of schema overview, and nothing else. Repeatable.
-- psql "$URL" -v ON_ERROR_STOP=1 -v password=… -f reader.sql   (a password, so that it never stands in a file)
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'city_overview') THEN CREATE ROLE city_overview; END IF;
END $$;
-- Not read-only by default: a database that says so of itself is one that was moved, and is not asked (docs/districts.md).
ALTER ROLE city_overview WITH LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION CONNECTION LIMIT 10
    PASSWORD :'password';
ALTER ROLE city_overview SET statement_timeout = '4s';
ALTER ROLE city_overview SET work_mem = '16MB';
GRANT USAGE ON SCHEMA overview TO city_overview;
GRANT SELECT ON ALL TABLES IN SCHEMA overview TO city_overview;
