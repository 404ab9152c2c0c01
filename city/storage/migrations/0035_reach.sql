-- How far an account reaches, kept by the database itself: who reaches less than the whole district asks as the role
-- `city_within`, and every table that holds something of a place or a unit shows that role the rows in reach, in
-- whichever query. The owner (ingest, loops, accounts of the whole district) is not held by it and pays nothing.
-- What of a caller the policies read is set for one transaction by city/storage/reach.py.

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'city_within') THEN
        CREATE ROLE city_within NOLOGIN;
    END IF;
    IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
        EXECUTE format('GRANT city_within TO %I', current_user);
    END IF;
EXCEPTION
    WHEN duplicate_object OR unique_violation THEN NULL;  -- another database of this server migrates just now
    WHEN insufficient_privilege THEN
        IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'city_within')
            AND pg_has_role(current_user, 'city_within', 'MEMBER') THEN
            RETURN;  -- somebody who may has made it and given it to us
        END IF;
        RAISE EXCEPTION 'the role city_within is not there and % may not make it', current_user
            USING HINT = 'as a superuser, once for this server: CREATE ROLE city_within NOLOGIN; GRANT city_within TO '
                || quote_ident(current_user);
END $$;

GRANT USAGE ON SCHEMA public TO city_within;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO city_within;
GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO city_within;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO city_within;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT USAGE, SELECT ON SEQUENCES TO city_within;
-- How people and programs come in is nobody's within an area.
REVOKE ALL ON sessions, second_factors, recovery_codes, user_identities, api_tokens, api_keys, intake_systems, screens
    FROM city_within;

-- ── what is asked of the caller ───────────────────────────────────────────────────────────────────────
-- Defined by the owner: they read the very tables whose rows they decide on.
CREATE FUNCTION reach_areas() RETURNS SETOF integer
LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path = public, pg_temp ROWS 1000 AS $$
    SELECT areas_within(nullif(current_setting('city.scope', true), ''))
$$;
COMMENT ON FUNCTION reach_areas() IS 'Every area of the caller''s scope; none without one.';

CREATE FUNCTION reach_unit() RETURNS integer LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT nullif(current_setting('city.unit', true), '')::integer
$$;
-- Held to the unit: sees incidents of it alone, wherever they are.
CREATE FUNCTION reach_held() RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT coalesce(current_setting('city.held', true), '') = 'yes'
$$;
CREATE FUNCTION reach_everywhere() RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT coalesce(current_setting('city.scope', true), '') = '' AND reach_held()
$$;
COMMENT ON FUNCTION reach_everywhere() IS 'Held to a unit and to no place: things of a place are open, incidents not.';

CREATE FUNCTION reach_incidents() RETURNS SETOF bigint
LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path = public, pg_temp ROWS 1000 AS $$
    SELECT id FROM incidents WHERE unit_id = reach_unit()
    UNION ALL SELECT incident_id FROM incident_co_units WHERE unit_id = reach_unit()
    UNION ALL SELECT incident_id FROM incident_requests WHERE unit_id = reach_unit()
    UNION ALL SELECT incident_id FROM incident_requests WHERE to_unit_id = reach_unit() AND state = 'open'
    UNION ALL SELECT e.incident_id FROM incident_events e
        WHERE e.detail ->> 'unit' = (SELECT code FROM units WHERE id = reach_unit())
          AND e.kind IN ('dispatched', 'redispatched', 'transferred', 'ruled')
    UNION ALL SELECT o.incident_id FROM site_orders o JOIN site_order_units u ON u.order_id = o.id
        WHERE u.unit_id = reach_unit() AND o.incident_id IS NOT NULL
    UNION ALL SELECT nullif(current_setting('city.incident', true), '')::bigint
$$;
COMMENT ON FUNCTION reach_incidents() IS
    'Incidents the caller''s unit leads, led, helps with, is ordered to, asked something about or is asked to take; and the one this request is about, which it '
    'was let to when it came and may move out of reach while it is answered.';

CREATE INDEX incident_events_given ON incident_events ((detail ->> 'unit'))
    WHERE kind IN ('dispatched', 'redispatched', 'transferred', 'ruled');
CREATE INDEX incident_co_units_by_unit ON incident_co_units (unit_id);
CREATE INDEX incidents_by_area ON incidents (area_id, id);
CREATE INDEX incidents_by_unit ON incidents (unit_id) WHERE unit_id IS NOT NULL;
CREATE INDEX alarms_by_cell ON alarms (cell_id, id);
CREATE INDEX reports_by_area ON reports (area_id, id);

-- The scope, and what it lies in: a place is shown with the street and the district it belongs to.
CREATE FUNCTION reach_above() RETURNS SETOF integer
LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path = public, pg_temp ROWS 10 AS $$
    WITH RECURSIVE above AS (
        SELECT id, parent_id FROM areas WHERE code = nullif(current_setting('city.scope', true), '')
        UNION
        SELECT a.id, a.parent_id FROM areas a JOIN above b ON a.id = b.parent_id
    )
    SELECT id FROM above
$$;

-- ── which rows ────────────────────────────────────────────────────────────────────────────────────────
-- A table that is not here holds nothing of a place or a unit, or is only ever read through one that is;
-- tests/integration/test_reach.py knows each of them by name. Policies hold for looking alone: what is written to must
-- have been looked at, and a row that is written where its writer cannot see it is refused by the same policy.
CREATE FUNCTION pg_temp.keep(called text, seen text) RETURNS void LANGUAGE plpgsql AS $keep$
BEGIN
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', called);
    EXECUTE format('CREATE POLICY reach ON %I FOR SELECT TO city_within USING (%s)', called, seen);
    EXECUTE format('CREATE POLICY reach_insert ON %I FOR INSERT TO city_within WITH CHECK (true)', called);
    EXECUTE format('CREATE POLICY reach_update ON %I FOR UPDATE TO city_within USING (true)', called);
    EXECUTE format('CREATE POLICY reach_delete ON %I FOR DELETE TO city_within USING (true)', called);
END $keep$;

DO $$
DECLARE
    by_place constant text := '(SELECT reach_everywhere()) OR %s IN (SELECT reach_areas())';
    -- A unit's people look after its things wherever those stand.
    by_owner constant text := ' OR (SELECT code FROM units WHERE id = (SELECT reach_unit())) IN (owner_unit, maintainer_unit)';
    by_area constant text := 'NOT (SELECT reach_held()) AND %s IN (SELECT reach_areas())';
    by_unit constant text := '%s IN (SELECT reach_incidents())';
    by_me constant text := '%s = (SELECT current_setting(''city.actor'', true))';
    through constant text := 'EXISTS (SELECT FROM %s)';
    child text;
BEGIN
    PERFORM pg_temp.keep('areas', format(by_place, 'id') || ' OR id IN (SELECT reach_above())');
    PERFORM pg_temp.keep('devices', format(by_place, 'cell_id') || by_owner);
    PERFORM pg_temp.keep('components', format(by_place, 'cell_id') || by_owner);
    PERFORM pg_temp.keep('buildings', format(by_place, 'cell_id') || by_owner);
    PERFORM pg_temp.keep('incidents', format(by_area, 'area_id') || ' OR ' || format(by_unit, 'id'));
    PERFORM pg_temp.keep('alarms', format(by_area, 'cell_id') || ' OR ' || format(by_unit, 'incident_id'));
    PERFORM pg_temp.keep('reports', format(by_area, 'area_id') || ' OR ' || format(by_me, 'actor')
        || ' OR EXISTS (SELECT FROM incidents i WHERE i.id = incident_id)');
    PERFORM pg_temp.keep('site_orders', format(by_area, 'area_id') || ' OR unit_id = (SELECT reach_unit()) OR '
        || format(by_me, 'ordered_by')
        || ' OR EXISTS (SELECT FROM site_order_units u WHERE u.order_id = id AND u.unit_id = (SELECT reach_unit()))');
    PERFORM pg_temp.keep('flood_tasks', format(by_area, 'area_id') || ' OR ' || format(by_unit, 'incident_id'));
    PERFORM pg_temp.keep('flood_headcounts', format(by_place, 'area_id'));
    PERFORM pg_temp.keep('patrol_points', format(by_place, 'area_id'));
    PERFORM pg_temp.keep('patrol_routes', 'EXISTS (SELECT FROM patrol_points p WHERE p.route_id = patrol_routes.id) OR '
        || format(by_me, '''user:'' || assigned_to'));
    PERFORM pg_temp.keep('patrol_checks', 'EXISTS (SELECT FROM patrol_points p WHERE p.id = point_id) OR '
        || format(by_me, 'actor'));
    PERFORM pg_temp.keep('patrol_answers', format(through, 'patrol_checks c WHERE c.id = check_id'));

    FOREACH child IN ARRAY ARRAY['incident_events', 'incident_texts', 'incident_clocks', 'incident_requests',
                                 'incident_co_units'] LOOP
        PERFORM pg_temp.keep(child, format(through, format('incidents i WHERE i.id = %I.incident_id', child)));
    END LOOP;
    FOREACH child IN ARRAY ARRAY['report_contacts', 'report_additions', 'report_notices', 'report_ratings',
                                 'report_callbacks', 'open311_requests'] LOOP
        PERFORM pg_temp.keep(child, format(through, format('reports r WHERE r.id = %I.report_id', child)));
    END LOOP;
    FOREACH child IN ARRAY ARRAY['stations', 'device_life', 'device_names', 'drill_devices', 'presence',
                                 'device_health', 'flood_station_bands'] LOOP
        PERFORM pg_temp.keep(child, format(through, format('devices d WHERE d.id = %I.device_id', child)));
    END LOOP;
    PERFORM pg_temp.keep('alarm_events', format(through, 'alarms a WHERE a.id = alarm_events.alarm_id'));
    PERFORM pg_temp.keep('alarm_shelves', '(alarm_id IS NULL OR EXISTS (SELECT FROM alarms a WHERE a.id = alarm_id))'
        || ' AND (device_id IS NULL OR EXISTS (SELECT FROM devices d WHERE d.id = device_id))');
    PERFORM pg_temp.keep('notifications', 'unit_id = (SELECT reach_unit())'
        || ' OR EXISTS (SELECT FROM incidents i WHERE i.id = incident_id)'
        || ' OR EXISTS (SELECT FROM reports r WHERE r.id = report_id)');
    PERFORM pg_temp.keep('incident_merges', 'EXISTS (SELECT FROM incidents i WHERE i.id = from_id)'
        || ' OR EXISTS (SELECT FROM incidents i WHERE i.id = into_id)');
    PERFORM pg_temp.keep('flood_task_reports', format(through, 'flood_tasks t WHERE t.id = flood_task_reports.task_id'));
    PERFORM pg_temp.keep('photo_uses', $see$CASE used_for
        WHEN 'incident' THEN EXISTS (SELECT FROM incidents i WHERE i.id = object)
        WHEN 'report' THEN EXISTS (SELECT FROM reports r WHERE r.id = object)
        WHEN 'patrol' THEN EXISTS (SELECT FROM patrol_checks c WHERE c.id = object)
        WHEN 'device' THEN EXISTS (SELECT FROM devices d WHERE d.id = object)
        WHEN 'component' THEN EXISTS (SELECT FROM components c WHERE c.id = object)
        WHEN 'building' THEN EXISTS (SELECT FROM buildings b WHERE b.id = object) END$see$);
    PERFORM pg_temp.keep('documents', $see$CASE used_for
        WHEN 'device' THEN EXISTS (SELECT FROM devices d WHERE d.id = object)
        WHEN 'component' THEN EXISTS (SELECT FROM components c WHERE c.id = object)
        WHEN 'building' THEN EXISTS (SELECT FROM buildings b WHERE b.id = object) END$see$);
    -- What a stranger's topic says of its place cannot be believed; our own form of a topic names the cell.
    PERFORM pg_temp.keep('quarantine', $see$NOT (SELECT reach_held()) AND topic LIKE 'city/%' AND split_part(topic, '/', 2) IN
        (SELECT a.code FROM areas a WHERE a.id IN (SELECT reach_areas()))$see$);

    -- Of units: telephones and names of people. Whoever is held to a unit sees its own.
    FOREACH child IN ARRAY ARRAY['roster', 'rosters', 'shifts'] LOOP
        PERFORM pg_temp.keep(child, 'NOT (SELECT reach_held()) OR unit_id = (SELECT reach_unit())');
    END LOOP;
    PERFORM pg_temp.keep('contacts', 'unit_id = (SELECT reach_unit()) OR ' || format(by_me, '''user:'' || user_id'));

    -- The district's own books: what a shift tells the next, and what the flood desk wrote down.
    PERFORM pg_temp.keep('handovers', 'false');
    PERFORM pg_temp.keep('flood_duty_log', format(by_me, 'actor'));
END $$;
DROP FUNCTION pg_temp.keep(text, text);
