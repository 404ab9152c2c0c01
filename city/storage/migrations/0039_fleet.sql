-- Whether an update of devices changed what the register says, asked so that it stays cheap for thousands of rows at
-- once: the rows of a statement have no statistics, so a join of old and new was planned as a loop in a loop, and the
-- first sign of life of 2,000 devices held ingest up for a second. A set difference is hashed.
CREATE OR REPLACE FUNCTION devices_updated() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT id, code, kind, cell_id, registration, expected_interval_s, service_state, service_until, model, tags,
               gateway, profile, life_state FROM new_rows
        EXCEPT
        SELECT id, code, kind, cell_id, registration, expected_interval_s, service_state, service_until, model, tags,
               gateway, profile, life_state FROM old_rows
    ) THEN PERFORM bump_register(); END IF;
    RETURN NULL;
END $$;
