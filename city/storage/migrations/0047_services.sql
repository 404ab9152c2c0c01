-- depends: 0035_reach 0036_secrets 0037_ground
-- What the processes that serve may do: read and write rows, and nothing of the schema. Whoever gets into one of them can
-- neither take the audit's triggers away nor empty a table nor make a role. Who signs in as what is the deployment's:
-- `city migrate` gives this role to the account that CITY_DATABASE_URL names (docs/operations.md, "Two accounts").

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'city_services') THEN
        CREATE ROLE city_services NOLOGIN;
    END IF;
    GRANT city_within TO city_services;
EXCEPTION
    WHEN duplicate_object OR unique_violation THEN NULL;  -- another database of this server migrates just now
    WHEN insufficient_privilege THEN
        IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'city_services')
            AND pg_has_role('city_services', 'city_within', 'MEMBER') THEN
            RETURN;  -- somebody who may has made it and given it the other
        END IF;
        RAISE EXCEPTION 'the role city_services is not there and % may not make it', current_user
            USING HINT = 'as a superuser, once for this server: CREATE ROLE city_services NOLOGIN; '
                'GRANT city_within TO city_services';
END $$;

GRANT USAGE ON SCHEMA public TO city_services;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO city_services;
GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO city_services;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO city_services;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT USAGE, SELECT ON SEQUENCES TO city_services;
-- What is done is told by its rows; what is applied to the schema is told by who may apply it.
DO $$
DECLARE
    called text;
BEGIN
    FOR called IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename LIKE '%yoyo%' LOOP
        EXECUTE format('REVOKE INSERT, UPDATE, DELETE ON %I FROM city_services, city_within', called);
    END LOOP;
    -- Loops and accounts of the whole district see every row, as the owner does; a later table with policies needs this one.
    FOR called IN SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relrowsecurity LOOP
        EXECUTE format('CREATE POLICY services ON %I TO city_services USING (true) WITH CHECK (true)', called);
    END LOOP;
    IF current_setting('server_version_num')::int >= 170000 THEN
        GRANT MAINTAIN ON ALL TABLES IN SCHEMA public TO city_services;  -- statistics after a large import
        ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT MAINTAIN ON TABLES TO city_services;
    END IF;
END $$;

-- Only an owner may drop chunks.
CREATE FUNCTION drop_old_observations(before timestamptz) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    dropped bigint;
BEGIN
    EXECUTE 'SELECT count(*) FROM drop_chunks(''observations'', older_than => $1)' INTO dropped USING before;
    RETURN dropped;
END $$;
-- Turning a transaction into `city_within` reckons the ground first (0037_ground.sql).
GRANT EXECUTE ON FUNCTION kept_ground(text), ground_within(text) TO city_services;
REVOKE EXECUTE ON FUNCTION drop_old_observations(timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION drop_old_observations(timestamptz) TO city_services;
