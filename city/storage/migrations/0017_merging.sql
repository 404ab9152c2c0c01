-- depends: 0012_workflow
-- Merging without loss: what went into what, where each alarm belongs when it is undone, and how near ones are found.

-- ── merges ────────────────────────────────────────────────────────────────────────────────────────────
CREATE TABLE incident_merges (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    from_id      bigint NOT NULL REFERENCES incidents (id),
    into_id      bigint NOT NULL REFERENCES incidents (id),
    at           timestamptz NOT NULL,
    by           text NOT NULL,
    before_state text NOT NULL,                   -- where it goes on when it is split off
    clocks       jsonb NOT NULL,                  -- of its open clocks: stage, limit, due_at
    brought      jsonb NOT NULL,                  -- class, level, times that weigh on the other from now on
    own          jsonb NOT NULL,                  -- what the other had of these by itself
    into_seq     integer NOT NULL,                -- the other's last event before: did anything else come since?
    co_units     integer[] NOT NULL DEFAULT '{}', -- units that handle beside the other's on account of this
    undone_at    timestamptz,
    undone_by    text,
    CONSTRAINT incident_merges_not_itself CHECK (from_id <> into_id),
    CONSTRAINT incident_merges_undone_by_somebody CHECK ((undone_at IS NULL) = (undone_by IS NULL))
);
-- An incident that went into two others would come back twice.
CREATE UNIQUE INDEX incident_merges_one_active ON incident_merges (from_id) WHERE undone_at IS NULL;
CREATE INDEX incident_merges_into ON incident_merges (into_id) WHERE undone_at IS NULL;

-- Whose an alarm is by itself, while its incident is merged: alarms.incident_id is whoever answers for it now. An
-- alarm without a row here is at home.
CREATE TABLE alarm_homes (
    alarm_id    bigint PRIMARY KEY REFERENCES alarms (id) ON DELETE CASCADE,
    incident_id bigint NOT NULL REFERENCES incidents (id)
);
CREATE INDEX alarm_homes_of ON alarm_homes (incident_id);

-- Nothing goes into what went elsewhere itself, or is over. Since what is merged is not open, no circle can close.
CREATE FUNCTION check_incident_merge() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM incidents WHERE id = NEW.merged_into AND closed_at IS NULL) THEN
        RAISE EXCEPTION 'incident % cannot go into one that is not open', OLD.number
            USING ERRCODE = 'check_violation', CONSTRAINT = 'incidents_merged_into_open';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER incidents_merge BEFORE UPDATE OF merged_into ON incidents FOR EACH ROW
    WHEN (NEW.merged_into IS NOT NULL AND NEW.merged_into IS DISTINCT FROM OLD.merged_into)
    EXECUTE FUNCTION check_incident_merge();

-- A large event has parts, and no part has parts again: one look shows the whole of it, and no circle can close.
CREATE FUNCTION check_incident_parent() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM incidents WHERE id = NEW.parent_id AND parent_id IS NOT NULL)
       OR EXISTS (SELECT FROM incidents WHERE parent_id = NEW.id) THEN
        RAISE EXCEPTION 'incident % would be a part of a part', NEW.number
            USING ERRCODE = 'check_violation', CONSTRAINT = 'incidents_one_level';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER incidents_parent BEFORE UPDATE OF parent_id ON incidents FOR EACH ROW
    WHEN (NEW.parent_id IS NOT NULL AND NEW.parent_id IS DISTINCT FROM OLD.parent_id)
    EXECUTE FUNCTION check_incident_parent();

-- ── finding what lies near ────────────────────────────────────────────────────────────────────────────
-- Of a cell, the newest first: all of a top-level category, or of any.
CREATE INDEX incidents_open_in_cell ON incidents (area_id, split_part(category, '.', 1), opened_at DESC)
    WHERE closed_at IS NULL;
CREATE INDEX incidents_open_newest_in_cell ON incidents (area_id, opened_at DESC) WHERE closed_at IS NULL;
CREATE INDEX incidents_merged_in_cell ON incidents (area_id, opened_at DESC) WHERE state = 'merged';
CREATE INDEX incidents_open_by_position ON incidents USING gist (point(longitude, latitude))
    WHERE closed_at IS NULL AND longitude IS NOT NULL AND latitude IS NOT NULL;
CREATE INDEX alarms_triaged_in_cell ON alarms (cell_id, raised_at DESC) WHERE incident_id IS NOT NULL;
