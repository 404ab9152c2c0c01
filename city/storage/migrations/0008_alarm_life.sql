-- An alarm's life after ISA-18.2 (docs/alarms.md): what happened to it, what a person shelved, who is only practising.

-- ── drills ────────────────────────────────────────────────────────────────────────────────────────────
-- What the devices of a drill say in its time is exercise. Its end is part of its beginning: a drill that nobody
-- ended would hide a real fire behind the word exercise.
CREATE TABLE drills (
    id         integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name       text NOT NULL CONSTRAINT drills_named CHECK (name <> ''),
    scenario   text NOT NULL DEFAULT '',          -- of the simulators; empty = played by people
    reason     text NOT NULL CONSTRAINT drills_reason_given CHECK (reason <> ''),
    opened_at  timestamptz NOT NULL,
    opened_by  text NOT NULL,
    until      timestamptz NOT NULL,
    ended_at   timestamptz,                       -- null = running, or about to be ended by the centre
    ended_by   text,
    end_reason text NOT NULL DEFAULT '',
    CONSTRAINT drills_end_after_begin CHECK (until > opened_at AND (ended_at IS NULL OR ended_at >= opened_at))
);
CREATE INDEX drills_running ON drills (until) WHERE ended_at IS NULL;
CREATE TABLE drill_devices (
    drill_id  integer NOT NULL REFERENCES drills (id),
    device_id integer NOT NULL REFERENCES devices (id),
    PRIMARY KEY (device_id, drill_id)             -- ingest asks by device for every alarm it raises
);
CREATE INDEX drill_devices_by_drill ON drill_devices (drill_id);

-- ── alarms ────────────────────────────────────────────────────────────────────────────────────────────
ALTER TABLE alarms
    ADD COLUMN suppressed  text CONSTRAINT alarms_suppressed_says_why CHECK (suppressed <> ''), -- by design; null = not
    ADD COLUMN level_since timestamptz,           -- event time of the last change of level; null = as it was raised
    ADD COLUMN drill_id    integer REFERENCES drills (id),
    -- A drill's alarm that is not marked so would send people.
    ADD CONSTRAINT alarms_drill_is_exercise CHECK (drill_id IS NULL OR exercise);
CREATE INDEX alarms_standing ON alarms (id) WHERE cleared_at IS NULL;
CREATE INDEX alarms_to_acknowledge ON alarms (id) WHERE acknowledged_at IS NULL AND cleared_at IS NOT NULL
    AND triage IN ('new', 'done');
CREATE INDEX alarms_by_drill ON alarms (drill_id) WHERE drill_id IS NOT NULL;
CREATE INDEX alarms_first_out ON alarms (incident_id, raised_at, id) WHERE incident_id IS NOT NULL;
DROP INDEX alarms_by_incident;                    -- the one above begins with the same column

-- Alarms that a drill's end closed while their rule still holds the condition for standing: nothing would raise it
-- again. The centre watches these: what the device says after the drill is real, and gets an alarm that is real.
CREATE TABLE drill_leftovers (
    alarm_id bigint PRIMARY KEY REFERENCES alarms (id),
    ended_at timestamptz NOT NULL
);

-- ── what happened to an alarm ─────────────────────────────────────────────────────────────────────────
CREATE TABLE alarm_events (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    alarm_id    bigint NOT NULL REFERENCES alarms (id),
    at          timestamptz NOT NULL,             -- event time of what a device did, the clock's of what a person did
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    kind        text NOT NULL CONSTRAINT alarm_events_kind_known CHECK (kind IN (
        'raised', 'repeated', 'level_raised', 'level_lowered', 'cleared',     -- the rule
        'suppressed', 'unsuppressed',                                         -- by design
        'acknowledged', 'shelved', 'unshelved',                               -- a person, or the shelf's own end
        'held', 'released')),                                                 -- silent for the sake of device or shelf
    actor       text NOT NULL DEFAULT 'system',
    reason      text NOT NULL DEFAULT '',
    evidence    jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX alarm_events_by_alarm ON alarm_events (alarm_id, id);
CREATE TRIGGER alarm_events_append_only BEFORE UPDATE OR DELETE ON alarm_events
    FOR EACH ROW EXECUTE FUNCTION refuse_change();

-- ── the shelf ─────────────────────────────────────────────────────────────────────────────────────────
-- A rule on a device that a person silenced for a while. It ends by itself: see its constraint.
CREATE TABLE alarm_shelves (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    rule_id    text NOT NULL,
    device_id  integer NOT NULL REFERENCES devices (id),
    alarm_id   bigint NOT NULL REFERENCES alarms (id), -- the episode for which it was asked
    level      text NOT NULL                      -- of that episode then: what rises above it was not shelved
        CONSTRAINT alarm_shelves_level_known CHECK (level IN ('blue', 'yellow', 'orange', 'red')),
    shelved_at timestamptz NOT NULL,
    shelved_by text NOT NULL,
    until      timestamptz NOT NULL,
    reason     text NOT NULL,
    ended_at   timestamptz,
    ended_by   text,                              -- 'system' = its time was over
    end_reason text NOT NULL DEFAULT '',
    -- An alarm shelved without an end or a reason is an alarm forgotten.
    CONSTRAINT alarm_shelves_end_after_begin CHECK (until > shelved_at),
    CONSTRAINT alarm_shelves_reason_given CHECK (reason <> '')
);
-- Two shelves over one alarm: ending one would not bring it back, and nobody would know why.
CREATE UNIQUE INDEX alarm_shelves_one_open ON alarm_shelves (rule_id, device_id) WHERE ended_at IS NULL;
CREATE FUNCTION level_rank(level text) RETURNS integer LANGUAGE sql IMMUTABLE AS
$$ SELECT array_position(ARRAY['blue', 'yellow', 'orange', 'red'], level) $$;
CREATE INDEX alarm_shelves_due ON alarm_shelves (until) WHERE ended_at IS NULL;
