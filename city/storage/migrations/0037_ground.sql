-- Reach, asked once for a transaction instead of once for every table of a query. city/storage/reach.py lays the areas of
-- the caller's scope down as a row of bits when the transaction begins, one for each area's id, and a policy looks at a
-- bit: without a subquery to plan, run and hash for each table that a list joins. docs/access.md has the figures.

CREATE FUNCTION reach_ground() RETURNS bit varying LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT coalesce(current_setting('city.ground', true), '')::bit varying
$$;
COMMENT ON FUNCTION reach_ground() IS
    'The bit after as many as an area''s id says whether it lies in the caller''s scope; none without a scope.';

CREATE FUNCTION reach_open_ground() RETURNS bit varying LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN reach_held() THEN '' ELSE reach_ground() END
$$;
COMMENT ON FUNCTION reach_open_ground() IS 'The same for incidents and what hangs on them: none for who is held to a unit.';

-- Level by level, not by recursion, which takes four times as long.
CREATE FUNCTION ground_within(wanted text) RETURNS text
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    level integer[] := ARRAY(SELECT id FROM areas WHERE code = wanted);
    found integer[] := level;
BEGIN
    WHILE level <> '{}' LOOP
        level := ARRAY(SELECT id FROM areas WHERE parent_id = ANY (level) AND id <> ALL (found));
        found := found || level;
    END LOOP;
    RETURN (SELECT coalesce(string_agg(repeat('0', id - before - 1) || '1', '' ORDER BY id), '')
            FROM (SELECT id, lag(id, 1, -1) OVER (ORDER BY id) AS before FROM unnest(found) id) each_id);
END $$;

-- Kept by the session for the scope that asked last: looked up again when the register or the areas changed.
CREATE FUNCTION kept_ground(wanted text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    -- Read before the areas, so that what is kept is never older than what it is kept for.
    here constant text := wanted || ' ' || (SELECT coalesce(sum(version), 0) FROM register_versions WHERE slot >= 0)
        || ' ' || (SELECT coalesce(max(id), 0) FROM areas);
BEGIN
    IF wanted = '' THEN
        RETURN '';
    END IF;
    IF current_setting('city.kept_for', true) IS DISTINCT FROM here THEN
        PERFORM set_config('city.kept', ground_within(wanted), false), set_config('city.kept_for', here, false);
    END IF;
    RETURN current_setting('city.kept');
END $$;
REVOKE ALL ON FUNCTION kept_ground(text), ground_within(text) FROM PUBLIC;

-- In plpgsql, which keeps its plans for the session and asks nothing for who has no unit.
CREATE OR REPLACE FUNCTION reach_incidents() RETURNS SETOF bigint
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path = public, pg_temp ROWS 1000 AS $$
DECLARE
    mine constant integer := reach_unit();
    asked constant text := nullif(current_setting('city.incident', true), '');
BEGIN
    IF asked IS NOT NULL THEN
        RETURN NEXT asked::bigint;
    END IF;
    IF mine IS NULL THEN
        RETURN;
    END IF;
    RETURN QUERY
        SELECT id FROM incidents WHERE unit_id = mine
        UNION ALL SELECT incident_id FROM incident_co_units WHERE unit_id = mine
        UNION ALL SELECT incident_id FROM incident_requests WHERE unit_id = mine
        UNION ALL SELECT incident_id FROM incident_requests WHERE to_unit_id = mine AND state = 'open'
        UNION ALL SELECT e.incident_id FROM incident_events e
            WHERE e.detail ->> 'unit' = (SELECT code FROM units WHERE id = mine)
              AND e.kind IN ('dispatched', 'redispatched', 'transferred', 'ruled')
        UNION ALL SELECT o.incident_id FROM site_orders o JOIN site_order_units u ON u.order_id = o.id
            WHERE u.unit_id = mine AND o.incident_id IS NOT NULL;
END $$;

DO $do$
DECLARE
    by_place constant text := $$(SELECT reach_everywhere()) OR substring((SELECT reach_ground()), %s + 1, 1) = B'1'$$;
    by_owner constant text :=
        ' OR (SELECT code FROM units WHERE id = reach_unit()) = ANY (ARRAY[owner_unit, maintainer_unit])';
    by_area constant text := $$substring((SELECT reach_open_ground()), %s + 1, 1) = B'1'$$;
    by_unit constant text := '%s IN (SELECT reach_incidents())';
    by_me constant text := $$%s = (SELECT current_setting('city.actor', true))$$;
    -- A value, not EXISTS: that is planned twice at each level, once to be looked up and once to hash all that are in
    -- reach, and is then answered by hashing for a list of a hundred.
    one constant text := '(SELECT true FROM %I its WHERE its.id = %s)';
    which record;
BEGIN
    FOR which IN
        SELECT called, format(by_place, place) || by_owner AS seen FROM (VALUES
            ('devices', 'cell_id'), ('components', 'cell_id'), ('buildings', 'cell_id')) t (called, place)
        UNION ALL SELECT called, format(by_place, place) FROM (VALUES
            ('flood_headcounts', 'area_id'), ('patrol_points', 'area_id')) t (called, place)
        UNION ALL SELECT called, format(by_area, place) || ' OR ' || format(by_unit, incident) FROM (VALUES
            ('incidents', 'area_id', 'id'), ('alarms', 'cell_id', 'incident_id'),
            ('flood_tasks', 'area_id', 'incident_id')) t (called, place, incident)
        UNION ALL SELECT called, format(one, 'incidents', called || '.incident_id') FROM (VALUES
            ('incident_events'), ('incident_texts'), ('incident_clocks'), ('incident_requests'),
            ('incident_co_units')) t (called)
        UNION ALL SELECT called, format(one, 'reports', called || '.report_id') FROM (VALUES
            ('report_contacts'), ('report_additions'), ('report_notices'), ('report_ratings'), ('report_callbacks'),
            ('open311_requests')) t (called)
        UNION ALL SELECT called, format('CASE used_for %s END', string_agg(
                format('WHEN %L THEN ' || one, used_for, of, called || '.object'), ' ')) FROM (VALUES
            ('photo_uses', 'incident', 'incidents'), ('photo_uses', 'report', 'reports'),
            ('photo_uses', 'patrol', 'patrol_checks'), ('photo_uses', 'device', 'devices'),
            ('photo_uses', 'component', 'components'), ('photo_uses', 'building', 'buildings'),
            ('documents', 'device', 'devices'), ('documents', 'component', 'components'),
            ('documents', 'building', 'buildings')) t (called, used_for, of) GROUP BY called
        UNION ALL VALUES
            ('areas', format(by_place, 'id') || ' OR id IN (SELECT reach_above())'),
            ('reports', format(by_area, 'area_id') || ' OR ' || format(by_me, 'actor')
                || ' OR ' || format(one, 'incidents', 'reports.incident_id')),
            ('alarm_events', format(one, 'alarms', 'alarm_events.alarm_id')),
            ('alarm_shelves', '(alarm_id IS NULL OR ' || format(one, 'alarms', 'alarm_shelves.alarm_id')
                || ') AND (device_id IS NULL OR ' || format(one, 'devices', 'alarm_shelves.device_id') || ')'),
            ('notifications', 'unit_id = (SELECT reach_unit()) OR '
                || format(one, 'incidents', 'notifications.incident_id')
                || ' OR ' || format(one, 'reports', 'notifications.report_id')),
            ('site_orders', format(by_area, 'area_id') || ' OR unit_id = (SELECT reach_unit()) OR '
                || format(by_me, 'ordered_by')
                || ' OR EXISTS (SELECT FROM site_order_units u WHERE u.order_id = site_orders.id'
                || ' AND u.unit_id = (SELECT reach_unit()))'),
            ('quarantine', $$topic LIKE 'city/%' AND split_part(topic, '/', 2) IN
                (SELECT a.code FROM areas a WHERE substring((SELECT reach_open_ground()), a.id + 1, 1) = B'1')$$)
    LOOP
        EXECUTE format('ALTER POLICY reach ON %I USING (%s)', which.called, which.seen);
    END LOOP;
END $do$;
DROP FUNCTION reach_areas();
