-- The district's memory. Forward only; times are timestamptz (stored UTC); numbers are SI unless a column says so.
-- Invariants stand here as named constraints, each with the mistake it prevents.

-- ── ground ────────────────────────────────────────────────────────────────────────────────────────────
-- Overlapping layers, not a tree: a district re-cut overnight gets new rows and old ones an end.
CREATE TABLE areas (
    id          integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    layer       text NOT NULL,                    -- district, street, community, cell, or a net of a line department
    code        text NOT NULL,
    name        text NOT NULL,
    name_en     text NOT NULL DEFAULT '',
    parent_id   integer REFERENCES areas (id),
    geometry    jsonb,                            -- GeoJSON Polygon or MultiPolygon, WGS84; null when only a topic named it
    origin      text NOT NULL DEFAULT 'import' CONSTRAINT areas_origin_known CHECK (origin IN ('import', 'topic')),
    valid_from  timestamptz NOT NULL DEFAULT now(),
    valid_to    timestamptz,
    CONSTRAINT areas_end_after_begin CHECK (valid_to IS NULL OR valid_to > valid_from)
);
-- Two areas of one layer under one code at one time would make every lookup by code a guess.
CREATE UNIQUE INDEX areas_one_valid_per_code ON areas (layer, code) WHERE valid_to IS NULL;
CREATE INDEX areas_by_parent ON areas (parent_id);

-- Cells that share an edge; both directions are stored, so that a lookup is one index scan.
CREATE TABLE area_neighbours (
    area_id      integer NOT NULL REFERENCES areas (id) ON DELETE CASCADE,
    neighbour_id integer NOT NULL REFERENCES areas (id) ON DELETE CASCADE,
    PRIMARY KEY (area_id, neighbour_id),
    CONSTRAINT area_neighbours_not_itself CHECK (area_id <> neighbour_id)
);

CREATE TABLE district (
    only_one      boolean PRIMARY KEY DEFAULT true CONSTRAINT district_only_one CHECK (only_one),
    code          text NOT NULL,
    name          text NOT NULL,
    name_en       text NOT NULL DEFAULT '',
    timezone      text NOT NULL,
    response_level text CONSTRAINT district_response_level_known CHECK (response_level IN ('I', 'II', 'III', 'IV')),
    source_digest text NOT NULL DEFAULT ''         -- of the imported folder: an unchanged one is not imported again
);

-- ── devices ───────────────────────────────────────────────────────────────────────────────────────────
CREATE TABLE metrics (
    id      smallint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    code    text NOT NULL UNIQUE,
    unit    text NOT NULL DEFAULT '',
    name    text NOT NULL DEFAULT '',
    name_en text NOT NULL DEFAULT ''
);

CREATE TABLE device_kinds (
    code                text PRIMARY KEY,
    name                text NOT NULL,
    name_en             text NOT NULL DEFAULT '',
    main_metric         text,                     -- what `value` means in a native payload; null = events only
    expected_interval_s integer CONSTRAINT device_kinds_interval_positive CHECK (expected_interval_s > 0)
);

CREATE TABLE devices (
    id                  integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    code                text NOT NULL UNIQUE,
    kind                text NOT NULL REFERENCES device_kinds (code),
    cell_id             integer REFERENCES areas (id),
    name                text NOT NULL DEFAULT '',
    registration        text NOT NULL DEFAULT 'registered'
        CONSTRAINT devices_registration_known CHECK (registration IN (
            'registered',                         -- in the district's own list; an administrator may retire it
            'unclaimed',                          -- heard, not in the list; claiming makes it registered
            'retired')),                          -- history only
    model               text NOT NULL DEFAULT '',
    owner_unit          text NOT NULL DEFAULT '', -- 权属
    maintainer_unit     text NOT NULL DEFAULT '', -- 养护
    gateway             text,                     -- code of the device it reports through
    address             text NOT NULL DEFAULT '',
    longitude           double precision,
    latitude            double precision,
    expected_interval_s integer CONSTRAINT devices_interval_positive CHECK (expected_interval_s > 0), -- null = the kind's
    service_state       text NOT NULL DEFAULT 'in_service'
        CONSTRAINT devices_service_state_known CHECK (service_state IN (
            'in_service',
            'under_test',                         -- an installer works on it: alarms are recorded, nobody is sent
            'shelved',                            -- a person silenced it for a while, with a reason
            'out_of_service')),                   -- not expected to report at all
    service_until       timestamptz,
    service_reason      text NOT NULL DEFAULT '',
    service_by          text NOT NULL DEFAULT '',
    clock_ahead_at      timestamptz,              -- when its clock was last seen ahead of ours; marked, not believed
    first_heard_at      timestamptz,
    registered_at       timestamptz NOT NULL DEFAULT now(),
    -- A detector put under test without an end is a detector forgotten.
    CONSTRAINT devices_test_and_shelf_end CHECK (service_state NOT IN ('under_test', 'shelved') OR service_until IS NOT NULL)
);
CREATE INDEX devices_by_cell ON devices (cell_id);
CREATE INDEX devices_by_kind ON devices (kind);
CREATE INDEX devices_back_in_service ON devices (service_until) WHERE service_until IS NOT NULL;

-- Last sign of life, written every few seconds for those that changed: for screens and for silence across restarts.
CREATE TABLE presence (
    device_id     integer PRIMARY KEY REFERENCES devices (id) ON DELETE CASCADE,
    last_heard_at timestamptz NOT NULL,           -- arrival
    link          text CONSTRAINT presence_link_known CHECK (link IN ('online', 'offline')) -- its last will, when it has one
) WITH (fillfactor = 70);

CREATE TABLE stations (
    device_id          integer PRIMARY KEY REFERENCES devices (id) ON DELETE CASCADE,
    station_kind       text NOT NULL,             -- river, culvert, underpass, reservoir, …
    river              text NOT NULL DEFAULT '',
    datum_m            double precision NOT NULL DEFAULT 0,
    warning_level_m    double precision,          -- 警戒水位
    guaranteed_level_m double precision,          -- 保证水位
    highest_level_m    double precision,          -- 历史最高水位
    upstream           text,
    travel_minutes     integer,
    -- A warning level above the guaranteed one calls people after the dyke is wet.
    CONSTRAINT stations_levels_in_order CHECK (
        (warning_level_m IS NULL OR guaranteed_level_m IS NULL OR warning_level_m < guaranteed_level_m)
        AND (guaranteed_level_m IS NULL OR highest_level_m IS NULL OR guaranteed_level_m <= highest_level_m))
);

-- ── observations ──────────────────────────────────────────────────────────────────────────────────────
-- Identity is (device, metric, observed_at): a redelivered reading cannot be stored twice. No foreign key: at
-- 50,000 rows a second it would cost more than the row, and ingest takes ids from the register it loads.
CREATE TABLE observations (
    device_id   integer NOT NULL,
    metric_id   smallint NOT NULL,
    quality     smallint NOT NULL DEFAULT 0,      -- bits of city.observations.Quality
    observed_at timestamptz NOT NULL,
    received_at timestamptz NOT NULL,
    value       double precision NOT NULL,
    seq         bigint,
    PRIMARY KEY (device_id, metric_id, observed_at)
);

-- Another value at the same identity: the first stays, the later one is kept here. Idempotent by its value.
CREATE TABLE observation_revisions (
    device_id   integer NOT NULL,
    metric_id   smallint NOT NULL,
    observed_at timestamptz NOT NULL,
    value       double precision NOT NULL,
    received_at timestamptz NOT NULL,
    PRIMARY KEY (device_id, metric_id, observed_at, value)
);

-- Identity of readings without a time: their sequence number, remembered for a day.
CREATE TABLE recent_sequences (
    device_id   integer NOT NULL,
    metric_id   smallint NOT NULL,
    seq         bigint NOT NULL,
    value       double precision NOT NULL,
    observed_at timestamptz NOT NULL,
    PRIMARY KEY (device_id, metric_id, seq)
);
CREATE INDEX recent_sequences_by_age ON recent_sequences (observed_at);

CREATE TABLE detections (
    device_id   integer NOT NULL,
    event_key   text NOT NULL,                    -- the sender's id, or empty
    state       text NOT NULL,                    -- new, update, end
    label       text NOT NULL,
    observed_at timestamptz NOT NULL,
    received_at timestamptz NOT NULL,
    score       double precision,
    zone        text NOT NULL DEFAULT '',
    url         text NOT NULL DEFAULT '',
    quality     smallint NOT NULL DEFAULT 0,
    seq         bigint,
    PRIMARY KEY (device_id, label, event_key, state, observed_at)
);
CREATE INDEX detections_by_time ON detections (observed_at);

-- Rollups kept by the application (the Apache edition has no continuous aggregates).
CREATE TABLE rollups (
    step_s    integer NOT NULL CONSTRAINT rollups_steps_known CHECK (step_s IN (60, 3600)),
    device_id integer NOT NULL,
    metric_id smallint NOT NULL,
    bucket    timestamptz NOT NULL,
    readings  integer NOT NULL,
    minimum   double precision NOT NULL,
    mean      double precision NOT NULL,
    maximum   double precision NOT NULL,
    PRIMARY KEY (step_s, device_id, metric_id, bucket)
);

-- What could not be understood: bytes cut at 64 KiB, shown, counted, replayable after a fix.
CREATE TABLE quarantine (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    received_at timestamptz NOT NULL,
    topic       text NOT NULL,                    -- control characters and invalid UTF-8 escaped
    topic_bytes bytea,                            -- the raw topic when it is not plain UTF-8
    payload     bytea NOT NULL,
    size        integer NOT NULL,                 -- bytes before the cut
    retained    boolean NOT NULL DEFAULT false,
    reason      text NOT NULL,                    -- a code of city.observations.Rejection
    detail      text NOT NULL,
    replay_requested_at timestamptz,              -- a person asked; ingest does it
    replayed_at timestamptz,
    outcome     text
);
CREATE INDEX quarantine_by_time ON quarantine (received_at);
CREATE INDEX quarantine_to_replay ON quarantine (replay_requested_at) WHERE replay_requested_at IS NOT NULL AND replayed_at IS NULL;
-- Counted always, kept up to a limit: a flood of rubbish must not fill the disk.
CREATE TABLE quarantine_counts (
    hour    timestamptz NOT NULL,
    reason  text NOT NULL,
    counted bigint NOT NULL,
    PRIMARY KEY (hour, reason)
);

-- When ingest was connected and caught up: silence counts only this time (our gap is not their silence).
CREATE TABLE ingest_sessions (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    client_id     text NOT NULL,
    listening_from timestamptz NOT NULL,
    alive_at      timestamptz NOT NULL,
    listening     boolean NOT NULL DEFAULT true,  -- the process's present row; false = it ended
    caught_up     boolean NOT NULL DEFAULT true,  -- false = alive but behind or without a broker: does not count
    figures       jsonb NOT NULL DEFAULT '{}',    -- counters of the process, for health and metrics
    CONSTRAINT ingest_sessions_in_order CHECK (alive_at >= listening_from)
);
CREATE INDEX ingest_sessions_by_time ON ingest_sessions (alive_at);

-- ── rules and alarms ──────────────────────────────────────────────────────────────────────────────────
CREATE TABLE rules (
    id         text NOT NULL,
    version    integer NOT NULL,
    definition jsonb NOT NULL,
    source     text NOT NULL DEFAULT '',          -- file it came from
    active     boolean NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    created_by text NOT NULL DEFAULT 'import',
    PRIMARY KEY (id, version)
);
CREATE UNIQUE INDEX rules_one_active_version ON rules (id) WHERE active;

-- One row for each (rule, device, metric) whose state differs from "never evaluated"; written only when it changed.
CREATE TABLE rule_states (
    rule_id   text NOT NULL,
    device_id integer NOT NULL,
    state     jsonb NOT NULL,
    PRIMARY KEY (rule_id, device_id)
) WITH (fillfactor = 70);

CREATE TABLE alarms (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    rule_id       text NOT NULL,
    rule_version  integer NOT NULL,
    device_id     integer REFERENCES devices (id), -- null: the system itself
    cell_id       integer REFERENCES areas (id),
    metric_id     smallint,
    category      text NOT NULL,
    level         text NOT NULL CONSTRAINT alarms_level_known CHECK (level IN ('blue', 'yellow', 'orange', 'red')),
    class         text CONSTRAINT alarms_class_known CHECK (class IN ('A', 'B', 'C')), -- null = the category's
    raised_at     timestamptz NOT NULL,           -- event time
    cleared_at    timestamptz,                    -- event time; null = standing
    recorded_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    late          boolean NOT NULL DEFAULT false, -- rests on data that arrived more than 5 minutes after observation
    page_after    timestamptz NOT NULL DEFAULT '-infinity', -- a late one waits for the rest of the backlog
    repeats       integer NOT NULL DEFAULT 0,     -- further crossings within the open episode
    evidence      jsonb NOT NULL,                 -- values, window, limits: explains it without the observations
    acknowledged_at timestamptz,
    acknowledged_by text,
    triage        text NOT NULL DEFAULT 'new' CONSTRAINT alarms_triage_known CHECK (triage IN (
        'new',                                    -- waiting for triage, which alone moves it on
        'held',                                   -- its device is under test or shelved; back to new when that ends
        'done',                                   -- belongs to an incident
        'recorded')),                             -- history only: over before anybody could act
    incident_id   bigint,
    exercise      boolean NOT NULL DEFAULT false,
    CONSTRAINT alarms_clear_after_raise CHECK (cleared_at IS NULL OR cleared_at >= raised_at),
    CONSTRAINT alarms_done_has_incident CHECK (triage <> 'done' OR incident_id IS NOT NULL)
);
-- One open episode for one condition: the flapping sensor raises one alarm, not thirty-three.
CREATE UNIQUE INDEX alarms_one_open_episode ON alarms (rule_id, device_id, cell_id, metric_id) NULLS NOT DISTINCT
    WHERE cleared_at IS NULL;
CREATE INDEX alarms_for_triage ON alarms (triage, page_after) WHERE triage IN ('new', 'held');
CREATE INDEX alarms_by_incident ON alarms (incident_id);
CREATE INDEX alarms_by_device ON alarms (device_id, raised_at DESC);
CREATE INDEX alarms_by_time ON alarms (raised_at);

-- ── people ────────────────────────────────────────────────────────────────────────────────────────────
CREATE TABLE units (
    id           integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    code         text NOT NULL UNIQUE,
    name         text NOT NULL,
    name_en      text NOT NULL DEFAULT '',
    kind         text NOT NULL DEFAULT '',
    parent       text,
    lead         text NOT NULL DEFAULT '',
    phone        text NOT NULL DEFAULT '',
    lead_phone   text NOT NULL DEFAULT '',
    email        text NOT NULL DEFAULT '',
    lead_email   text NOT NULL DEFAULT '',
    webhook_url  text NOT NULL DEFAULT '',
    webhook_secret text NOT NULL DEFAULT '',      -- made here, shown once to an administrator
    active       boolean NOT NULL DEFAULT true
);

CREATE TABLE categories (
    code          text PRIMARY KEY,               -- dotted: fire.smoke
    parent        text,
    name          text NOT NULL,
    name_en       text NOT NULL DEFAULT '',
    class         text NOT NULL CONSTRAINT categories_class_known CHECK (class IN ('A', 'B', 'C')),
    limit_minutes integer NOT NULL CONSTRAINT categories_limit_positive CHECK (limit_minutes > 0),
    clock         text NOT NULL DEFAULT 'natural' CONSTRAINT categories_clock_known CHECK (clock IN ('natural', 'working'))
);

-- 职责清单: category (a prefix such as "fire" covers its leaves) x place -> lead unit and limit; most specific wins.
CREATE TABLE responsibilities (
    id            integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    category      text NOT NULL,
    area_id       integer REFERENCES areas (id),  -- null = the whole district
    unit_id       integer NOT NULL REFERENCES units (id),
    class         text CONSTRAINT responsibilities_class_known CHECK (class IN ('A', 'B', 'C')),
    limit_minutes integer CONSTRAINT responsibilities_limit_positive CHECK (limit_minutes > 0),
    clock         text CONSTRAINT responsibilities_clock_known CHECK (clock IN ('natural', 'working')),
    valid_from    timestamptz NOT NULL DEFAULT now(),
    valid_to      timestamptz
);
-- Two lead units for one category and place is a case tossed between offices.
CREATE UNIQUE INDEX responsibilities_one_lead ON responsibilities (category, area_id) NULLS NOT DISTINCT WHERE valid_to IS NULL;

CREATE TABLE users (
    id            integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name          text NOT NULL UNIQUE,
    display_name  text NOT NULL DEFAULT '',
    password_hash text NOT NULL,                  -- argon2id
    role          text NOT NULL CONSTRAINT users_role_known CHECK (role IN ('viewer', 'dispatcher', 'administrator')),
    must_change   boolean NOT NULL DEFAULT false, -- the printed first secret opens only the change of it
    failed_count  integer NOT NULL DEFAULT 0,
    locked_until  timestamptz,
    disabled      boolean NOT NULL DEFAULT false,
    created_at    timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE sessions (
    token_digest bytea PRIMARY KEY,               -- sha-256 of the cookie: a leaked table opens nothing
    user_id      integer NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    created_at   timestamptz NOT NULL DEFAULT now(),
    seen_at      timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz NOT NULL
);

-- ── incidents ─────────────────────────────────────────────────────────────────────────────────────────
CREATE TABLE incident_numbers (
    day  date PRIMARY KEY,                        -- in the district's zone
    last integer NOT NULL
);

CREATE TABLE incidents (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    number          text NOT NULL UNIQUE,         -- 20261121-0007, by the district's day
    state           text NOT NULL CONSTRAINT incidents_state_known CHECK (state IN (
        'filed',                                  -- 立案, no unit yet: the unassigned lane. Leaves by dispatch, archive, void
        'dispatched',                             -- 派遣, a unit is told. Leaves by acknowledge, handle, void
        'acknowledged',                           -- 签收, the unit has it. Leaves by handle, dispatch (to another), void
        'handled',                                -- 处置完毕. Leaves by archive, or dispatch when not good enough
        'archived',                               -- 归档, final
        'voided')),                               -- 作废, final: was never an incident
    class           text NOT NULL CONSTRAINT incidents_class_known CHECK (class IN ('A', 'B', 'C')),
    category        text NOT NULL,
    title           text NOT NULL DEFAULT '',
    area_id         integer REFERENCES areas (id), -- the cell
    unit_id         integer REFERENCES units (id),
    reason          text NOT NULL,                -- why this unit, or why none
    reason_en       text NOT NULL DEFAULT '',
    source          text NOT NULL DEFAULT 'alarm' CONSTRAINT incidents_source_known CHECK (source IN ('alarm', 'report', 'person', 'system')),
    due_at          timestamptz,
    opened_at       timestamptz NOT NULL,
    last_alarm_at   timestamptz,
    acknowledged_at timestamptz,
    acknowledged_by text,
    urged_at        timestamptz,                  -- its lead was urged since nobody acknowledged
    closed_at       timestamptz,
    exercise        boolean NOT NULL DEFAULT false,
    version         integer NOT NULL DEFAULT 1,
    -- An incident has an owner, or stands in the unassigned lane with a reason.
    CONSTRAINT incidents_owned_or_in_lane CHECK (unit_id IS NOT NULL OR state IN ('filed', 'archived', 'voided')),
    CONSTRAINT incidents_reason_given CHECK (reason <> ''),
    CONSTRAINT incidents_owned_has_deadline CHECK (unit_id IS NULL OR due_at IS NOT NULL),
    CONSTRAINT incidents_closed_when_final CHECK ((state IN ('archived', 'voided')) = (closed_at IS NOT NULL))
);
CREATE INDEX incidents_open ON incidents (class, due_at) WHERE closed_at IS NULL;
CREATE INDEX incidents_open_by_area ON incidents (area_id, category) WHERE closed_at IS NULL;
CREATE INDEX incidents_by_time ON incidents (opened_at DESC);
ALTER TABLE alarms ADD CONSTRAINT alarms_incident FOREIGN KEY (incident_id) REFERENCES incidents (id);

-- Appended, never changed; each row carries the hash of the one before it (city.incidents.link).
CREATE TABLE incident_events (
    id          bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    incident_id bigint NOT NULL REFERENCES incidents (id),
    seq         integer NOT NULL,
    at          timestamptz NOT NULL,
    kind        text NOT NULL,
    actor       text NOT NULL,
    reason      text NOT NULL DEFAULT '',
    detail      jsonb NOT NULL DEFAULT '{}',
    previous    bytea NOT NULL,
    hash        bytea NOT NULL,
    PRIMARY KEY (incident_id, seq)
);
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'rows of % are only ever appended', TG_TABLE_NAME USING ERRCODE = 'restrict_violation'; END $$;
CREATE TRIGGER incident_events_append_only BEFORE UPDATE OR DELETE ON incident_events
    FOR EACH ROW EXECUTE FUNCTION refuse_change();

-- Orders to people: written with the decision, sent afterwards, retried, receipted.
CREATE TABLE notifications (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    incident_id     bigint NOT NULL REFERENCES incidents (id),
    unit_id         integer NOT NULL REFERENCES units (id),
    purpose         text NOT NULL CONSTRAINT notifications_purpose_known CHECK (purpose IN ('order', 'again', 'urge', 'overdue')),
    channel         text NOT NULL CONSTRAINT notifications_channel_known CHECK (channel IN ('webhook', 'smtp')),
    body            jsonb NOT NULL,
    state           text NOT NULL DEFAULT 'waiting' CONSTRAINT notifications_state_known CHECK (state IN (
        'waiting',                                -- to be sent at next_attempt_at
        'sent',                                   -- the channel's receipt is in `receipt`
        'failed')),                               -- given up; the timeline says so
    attempts        integer NOT NULL DEFAULT 0,
    next_attempt_at timestamptz NOT NULL DEFAULT now(),
    receipt         text,
    created_at      timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX notifications_waiting ON notifications (next_attempt_at) WHERE state = 'waiting';

-- ── what screens follow ───────────────────────────────────────────────────────────────────────────────
-- One row for each thing that happened, never coalesced. Readers look back over a window by id and remember what
-- they saw, since ids commit out of order. Kept for a day.
CREATE TABLE changes (
    id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind   text NOT NULL,                         -- alarm.raised, alarm.cleared, incident.opened, incident.changed, …
    object text NOT NULL,                         -- the object's id or code
    at     timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX changes_by_time ON changes (at);

-- Who changed the register, shelved a device, replayed quarantine: everything outside an incident's own timeline.
CREATE TABLE audit (
    id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at     timestamptz NOT NULL DEFAULT now(),
    actor  text NOT NULL,
    action text NOT NULL,
    object text NOT NULL,
    reason text NOT NULL DEFAULT '',
    detail jsonb NOT NULL DEFAULT '{}'
);

-- A repeated POST with the same key answers what the first one answered.
CREATE TABLE idempotency_keys (
    key        text NOT NULL,
    actor      text NOT NULL,
    route      text NOT NULL,
    answer     jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (actor, route, key)
);
