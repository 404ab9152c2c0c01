-- What the further kinds of rule look at: tags of a device, and its model and gateway, count as the register's.

ALTER TABLE devices ADD COLUMN tags text[] NOT NULL DEFAULT '{}'   -- free words such as school, old-building; rules and lists go by them
    -- A NULL in it would match nothing and be seen by nobody.
    CONSTRAINT devices_tags_without_null CHECK (array_position(tags, NULL) IS NULL);

CREATE OR REPLACE FUNCTION devices_updated() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT FROM new_rows n JOIN old_rows o ON o.id = n.id
        WHERE (n.code, n.kind, n.cell_id, n.registration, n.expected_interval_s, n.service_state, n.service_until,
               n.model, n.tags, n.gateway)
            IS DISTINCT FROM
              (o.code, o.kind, o.cell_id, o.registration, o.expected_interval_s, o.service_state, o.service_until,
               o.model, o.tags, o.gateway)
    ) THEN PERFORM bump_register(); END IF;
    RETURN NULL;
END $$;
