-- The register's own bookkeeping: where a device came from, and a cheap way to know that the register changed.

-- A device that was claimed stands in no file: without this, the next import would retire it.
ALTER TABLE devices ADD COLUMN origin text NOT NULL DEFAULT 'import'
    CONSTRAINT devices_origin_known CHECK (origin IN ('import', 'topic'));

-- sum(version) grows with every committed change of devices, stations, kinds, metrics, rules or areas, so that a
-- running process may poll it each second. A slot for each server process: one counter row would make every
-- writer wait for every other and deadlock with an import.
CREATE TABLE register_versions (
    slot    integer PRIMARY KEY,
    version bigint NOT NULL
) WITH (fillfactor = 50);

CREATE FUNCTION bump_register() RETURNS void LANGUAGE sql AS $$
    INSERT INTO register_versions AS known (slot, version) VALUES (pg_backend_pid() % 1024, 1)
    ON CONFLICT (slot) DO UPDATE SET version = known.version + 1
$$;

-- Rows that ingest adds by itself (unclaimed devices, cells named only by a topic) do not count: each process that
-- meets them asks for them anyway, and a flood of new names must not make every process reload everything.
CREATE FUNCTION devices_inserted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM new_rows WHERE registration <> 'unclaimed') THEN PERFORM bump_register(); END IF;
    RETURN NULL;
END $$;
CREATE FUNCTION devices_updated() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT FROM new_rows n JOIN old_rows o ON o.id = n.id
        WHERE (n.code, n.kind, n.cell_id, n.registration, n.expected_interval_s, n.service_state, n.service_until)
            IS DISTINCT FROM
              (o.code, o.kind, o.cell_id, o.registration, o.expected_interval_s, o.service_state, o.service_until)
    ) THEN PERFORM bump_register(); END IF;
    RETURN NULL;
END $$;
CREATE FUNCTION areas_inserted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM new_rows WHERE origin <> 'topic') THEN PERFORM bump_register(); END IF;
    RETURN NULL;
END $$;
CREATE FUNCTION register_rows_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM changed_rows) THEN PERFORM bump_register(); END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER devices_insert_bumps AFTER INSERT ON devices REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION devices_inserted();
CREATE TRIGGER devices_update_bumps AFTER UPDATE ON devices REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION devices_updated();
CREATE TRIGGER devices_delete_bumps AFTER DELETE ON devices REFERENCING OLD TABLE AS changed_rows
    FOR EACH STATEMENT EXECUTE FUNCTION register_rows_changed();

CREATE TRIGGER areas_insert_bumps AFTER INSERT ON areas REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION areas_inserted();
CREATE TRIGGER areas_update_bumps AFTER UPDATE ON areas REFERENCING NEW TABLE AS changed_rows
    FOR EACH STATEMENT EXECUTE FUNCTION register_rows_changed();

CREATE TRIGGER stations_insert_bumps AFTER INSERT ON stations REFERENCING NEW TABLE AS changed_rows
    FOR EACH STATEMENT EXECUTE FUNCTION register_rows_changed();
CREATE TRIGGER stations_update_bumps AFTER UPDATE ON stations REFERENCING NEW TABLE AS changed_rows
    FOR EACH STATEMENT EXECUTE FUNCTION register_rows_changed();
CREATE TRIGGER stations_delete_bumps AFTER DELETE ON stations REFERENCING OLD TABLE AS changed_rows
    FOR EACH STATEMENT EXECUTE FUNCTION register_rows_changed();

CREATE TRIGGER device_kinds_insert_bumps AFTER INSERT ON device_kinds REFERENCING NEW TABLE AS changed_rows
    FOR EACH STATEMENT EXECUTE FUNCTION register_rows_changed();
CREATE TRIGGER device_kinds_update_bumps AFTER UPDATE ON device_kinds REFERENCING NEW TABLE AS changed_rows
    FOR EACH STATEMENT EXECUTE FUNCTION register_rows_changed();

CREATE TRIGGER metrics_insert_bumps AFTER INSERT ON metrics REFERENCING NEW TABLE AS changed_rows
    FOR EACH STATEMENT EXECUTE FUNCTION register_rows_changed();
CREATE TRIGGER metrics_update_bumps AFTER UPDATE ON metrics REFERENCING NEW TABLE AS changed_rows
    FOR EACH STATEMENT EXECUTE FUNCTION register_rows_changed();

CREATE TRIGGER rules_insert_bumps AFTER INSERT ON rules REFERENCING NEW TABLE AS changed_rows
    FOR EACH STATEMENT EXECUTE FUNCTION register_rows_changed();
CREATE TRIGGER rules_update_bumps AFTER UPDATE ON rules REFERENCING NEW TABLE AS changed_rows
    FOR EACH STATEMENT EXECUTE FUNCTION register_rows_changed();
CREATE TRIGGER rules_delete_bumps AFTER DELETE ON rules REFERENCING OLD TABLE AS changed_rows
    FOR EACH STATEMENT EXECUTE FUNCTION register_rows_changed();
