-- The whole way of an incident: more states, who did which step, what was asked and decided, and a clock for each
-- stage. The rules of the house (docs/workflow.md) stand here as constraints, so that no screen and no script
-- gets round them.

-- ── people ────────────────────────────────────────────────────────────────────────────────────────────
ALTER TABLE users DROP CONSTRAINT users_role_known;
ALTER TABLE users
    ADD COLUMN unit_id integer REFERENCES units (id),  -- a handler acts for this unit, and for no other
    ADD CONSTRAINT users_role_known CHECK (role IN (
        'viewer',                                 -- looks
        'handler',                                -- 处置单位: acts on what its unit has
        'grid_worker',                            -- 网格员: reports, patrols, verifies on site
        'hotline',                                -- 热线: registers, calls back
        'dispatcher',                             -- 分拨员
        'supervisor',                             -- 督查: approves, supervises, rules on disputes
        'administrator')),
    -- A handler without a unit could act for nobody, or for everybody.
    ADD CONSTRAINT users_handler_has_unit CHECK (role <> 'handler' OR unit_id IS NOT NULL);

-- ── what the directory knows more ─────────────────────────────────────────────────────────────────────
ALTER TABLE units
    ADD COLUMN tier text NOT NULL DEFAULT 'district'
        CONSTRAINT units_tier_known CHECK (tier IN ('district', 'street', 'community')),
    ADD COLUMN capacity integer CONSTRAINT units_capacity_positive CHECK (capacity > 0), -- null = not limited
    ADD COLUMN fallback text,                     -- code of the unit that stands in
    ADD COLUMN hours text NOT NULL DEFAULT '',    -- 09:00-12:00,14:00-18:00; empty = the district's
    ADD COLUMN longitude double precision,
    ADD COLUMN latitude double precision,
    ADD CONSTRAINT units_not_own_fallback CHECK (fallback <> code);
ALTER TABLE categories
    ADD COLUMN nature text NOT NULL DEFAULT 'alarm' CONSTRAINT categories_nature_known
        CHECK (nature IN ('complaint', 'consultation', 'suggestion', 'request', 'alarm')),
    ADD COLUMN importance smallint CONSTRAINT categories_importance_known CHECK (importance BETWEEN 1 AND 3),
    ADD COLUMN urgency smallint CONSTRAINT categories_urgency_known CHECK (urgency BETWEEN 1 AND 3),
    ADD COLUMN event_level smallint NOT NULL DEFAULT 4
        CONSTRAINT categories_event_level_known CHECK (event_level BETWEEN 1 AND 4),
    ADD COLUMN limits text NOT NULL DEFAULT '',   -- of stages, city.clocks.read_limits
    ADD COLUMN class_limits text NOT NULL DEFAULT '', -- time to handle by class: A=30m;B=4wh;C=3wd
    ADD COLUMN plan text NOT NULL DEFAULT '',
    ADD COLUMN automatic text NOT NULL DEFAULT 'alarms' CONSTRAINT categories_automatic_known
        CHECK (automatic IN ('all', 'alarms', 'none')),
    ADD COLUMN active boolean NOT NULL DEFAULT true;
ALTER TABLE responsibilities
    ADD COLUMN co_units integer[] NOT NULL DEFAULT '{}',
    ADD COLUMN limits text NOT NULL DEFAULT '',
    ADD COLUMN automatic text CONSTRAINT responsibilities_automatic_known
        CHECK (automatic IN ('all', 'alarms', 'none')),
    -- A unit that handles beside itself is a circle.
    ADD CONSTRAINT responsibilities_lead_not_co CHECK (NOT unit_id = ANY (co_units));

-- ── incidents ─────────────────────────────────────────────────────────────────────────────────────────
ALTER TABLE incidents DROP CONSTRAINT incidents_state_known;
ALTER TABLE incidents DROP CONSTRAINT incidents_owned_or_in_lane;
ALTER TABLE incidents DROP CONSTRAINT incidents_closed_when_final;
ALTER TABLE incidents
    ADD COLUMN nature text NOT NULL DEFAULT 'alarm' CONSTRAINT incidents_nature_known
        CHECK (nature IN ('complaint', 'consultation', 'suggestion', 'request', 'alarm')),
    ADD COLUMN event_level smallint NOT NULL DEFAULT 4
        CONSTRAINT incidents_event_level_known CHECK (event_level BETWEEN 1 AND 4),
    ADD COLUMN steps smallint NOT NULL DEFAULT 5 CONSTRAINT incidents_five_or_six_steps CHECK (steps IN (5, 6)),
    ADD COLUMN longitude double precision,
    ADD COLUMN latitude double precision,
    ADD COLUMN reported boolean NOT NULL DEFAULT false,
    ADD COLUMN collected_by text,
    ADD COLUMN dispatched_at timestamptz,
    ADD COLUMN arrived_at timestamptz,
    ADD COLUMN handled_at timestamptz,
    ADD COLUMN handled_by text,
    ADD COLUMN verified_at timestamptz,
    ADD COLUMN verified_by text,
    ADD COLUMN fed_back_at timestamptz,
    ADD COLUMN held_state text,
    ADD COLUMN extensions integer NOT NULL DEFAULT 0,
    ADD COLUMN reworks integer NOT NULL DEFAULT 0,
    ADD COLUMN returned_by integer[] NOT NULL DEFAULT '{}', -- units that gave it back: the list passes them over
    ADD COLUMN supervised_at timestamptz,
    ADD COLUMN waived_by text,
    ADD COLUMN merged_into bigint REFERENCES incidents (id),
    ADD COLUMN parent_id bigint REFERENCES incidents (id),
    ADD CONSTRAINT incidents_state_known CHECK (state IN (
        'registered',                             -- 登记; leaves by accept, dispatch, merge, void
        'filed',                                  -- 立案, the unassigned lane; leaves by dispatch, merge, archive, void
        'dispatched',                             -- 派遣; leaves by acknowledge, arrive, handle, return, suspend, merge, void
        'acknowledged',                           -- 签收; leaves by arrive, handle, dispatch, return, suspend, merge, void
        'arrived',                                -- 到场; as acknowledged
        'handled',                                -- 处置完毕; leaves by verify, rework, feedback, archive
        'verified',                               -- 核查; leaves by feedback, archive, rework
        'fed_back',                               -- 反馈; leaves by archive, rework
        'returned',                               -- 回退; as filed
        'rework',                                 -- 返工; as acknowledged
        'suspended',                              -- 挂账; leaves by resume
        'archived',                               -- 归档; leaves only by reopen, within its limit
        'voided',                                 -- 作废, final
        'merged')),                               -- 合并; leaves by split
    -- An incident has an owner, or stands in the lane with a reason.
    ADD CONSTRAINT incidents_owned_or_in_lane CHECK (
        unit_id IS NOT NULL OR state IN ('registered', 'filed', 'returned', 'archived', 'voided', 'merged')),
    ADD CONSTRAINT incidents_closed_when_final CHECK (
        (state IN ('archived', 'voided', 'merged')) = (closed_at IS NOT NULL)),
    -- 采办分离: who collects a matter and then handles it marks his own work. Machines collect, they do not handle.
    ADD CONSTRAINT incidents_collector_not_handler CHECK (
        handled_by <> collected_by OR handled_by IN ('api-token', 'system')),
    ADD CONSTRAINT incidents_handler_not_verifier CHECK (verified_by <> handled_by),
    -- Six steps are six: none is skipped unless an approver answers for it by name.
    ADD CONSTRAINT incidents_verified_of_six CHECK (
        state NOT IN ('verified', 'fed_back', 'archived') OR steps = 5 OR verified_at IS NOT NULL
        OR waived_by IS NOT NULL),
    ADD CONSTRAINT incidents_reporter_told CHECK (
        state <> 'archived' OR NOT reported OR fed_back_at IS NOT NULL OR waived_by IS NOT NULL),
    ADD CONSTRAINT incidents_merged_names_other CHECK (
        (state = 'merged') = (merged_into IS NOT NULL) AND merged_into <> id),
    ADD CONSTRAINT incidents_suspended_knows_where CHECK ((state = 'suspended') = (held_state IS NOT NULL)),
    ADD CONSTRAINT incidents_not_own_parent CHECK (parent_id <> id);
CREATE INDEX incidents_open_by_unit ON incidents (unit_id, id) WHERE closed_at IS NULL;
CREATE INDEX incidents_open_by_state ON incidents (state, id) WHERE closed_at IS NULL;
CREATE INDEX incidents_open_by_id ON incidents (id) WHERE closed_at IS NULL;
CREATE INDEX incidents_merged_into ON incidents (merged_into) WHERE merged_into IS NOT NULL;
CREATE INDEX incidents_by_parent ON incidents (parent_id) WHERE parent_id IS NOT NULL;
UPDATE incidents SET dispatched_at = coalesce(told_at, opened_at) WHERE unit_id IS NOT NULL;

-- Which state follows which; command_centre.workflow.MOVES is the same list, and a test compares them.
CREATE TABLE incident_moves (
    from_state text NOT NULL,
    to_state   text NOT NULL,
    PRIMARY KEY (from_state, to_state)
);

INSERT INTO incident_moves (from_state, to_state) VALUES
    ('registered', 'filed'), ('registered', 'dispatched'), ('registered', 'merged'), ('registered', 'voided'),
    ('filed', 'dispatched'), ('filed', 'merged'), ('filed', 'archived'), ('filed', 'voided'),
    ('returned', 'dispatched'), ('returned', 'merged'), ('returned', 'archived'), ('returned', 'voided'),
    ('dispatched', 'acknowledged'), ('dispatched', 'arrived'), ('dispatched', 'handled'),
    ('dispatched', 'returned'), ('dispatched', 'suspended'), ('dispatched', 'merged'), ('dispatched', 'voided'),
    ('acknowledged', 'dispatched'), ('acknowledged', 'arrived'), ('acknowledged', 'handled'),
    ('acknowledged', 'returned'), ('acknowledged', 'suspended'), ('acknowledged', 'merged'),
    ('acknowledged', 'voided'),
    ('arrived', 'dispatched'), ('arrived', 'acknowledged'), ('arrived', 'handled'), ('arrived', 'returned'),
    ('arrived', 'suspended'), ('arrived', 'merged'), ('arrived', 'voided'),
    ('rework', 'dispatched'), ('rework', 'acknowledged'), ('rework', 'arrived'), ('rework', 'handled'),
    ('rework', 'returned'), ('rework', 'suspended'), ('rework', 'merged'), ('rework', 'voided'),
    ('handled', 'dispatched'), ('handled', 'verified'), ('handled', 'rework'), ('handled', 'fed_back'),
    ('handled', 'archived'), ('handled', 'merged'),
    ('verified', 'dispatched'), ('verified', 'rework'), ('verified', 'fed_back'), ('verified', 'archived'),
    ('verified', 'merged'),
    ('fed_back', 'dispatched'), ('fed_back', 'rework'), ('fed_back', 'archived'), ('fed_back', 'merged'),
    ('suspended', 'dispatched'), ('suspended', 'acknowledged'), ('suspended', 'arrived'), ('suspended', 'rework'),
    ('suspended', 'voided'),
    ('archived', 'filed'), ('archived', 'rework'),
    ('merged', 'registered'), ('merged', 'filed'), ('merged', 'returned'), ('merged', 'dispatched'),
    ('merged', 'acknowledged'), ('merged', 'arrived'), ('merged', 'rework'), ('merged', 'handled'),
    ('merged', 'verified'), ('merged', 'fed_back');

-- Standing alarms of an incident. A sensor that is under test, shelved, out of service or not heard of says nothing
-- either way; what nothing measures (our own alarms) is believed.
CREATE FUNCTION standing_alarms(incident bigint) RETURNS TABLE (alarm_id bigint, believed boolean)
LANGUAGE sql STABLE AS $$
    SELECT a.id, a.device_id IS NULL OR (
               d.service_state = 'in_service'
               AND NOT EXISTS (SELECT FROM alarm_shelves s WHERE s.rule_id = a.rule_id AND s.device_id = a.device_id
                               AND s.ended_at IS NULL)
               AND NOT EXISTS (SELECT FROM alarms q WHERE q.device_id = a.device_id AND q.cleared_at IS NULL
                               AND q.category = 'device.silent')
               AND p.device_id IS NOT NULL AND p.link IS DISTINCT FROM 'offline'
               AND p.last_heard_at > now() - make_interval(secs => greatest(120,
                       3 * coalesce(d.expected_interval_s, k.expected_interval_s, 1200))))
    FROM alarms a LEFT JOIN devices d ON d.id = a.device_id LEFT JOIN device_kinds k ON k.code = d.kind
    LEFT JOIN presence p ON p.device_id = a.device_id
    WHERE a.incident_id = incident AND a.cleared_at IS NULL
$$;

CREATE FUNCTION check_incident_move() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- A drill's end is the end of its incidents, wherever they stand.
    IF NEW.exercise AND NEW.state = 'archived' AND NEW.waived_by IS NOT NULL THEN RETURN NEW; END IF;
    IF NEW.state <> OLD.state
       AND NOT EXISTS (SELECT FROM incident_moves WHERE from_state = OLD.state AND to_state = NEW.state) THEN
        RAISE EXCEPTION 'incident % cannot go from % to %', OLD.number, OLD.state, NEW.state
            USING ERRCODE = 'check_violation', CONSTRAINT = 'incidents_known_move';
    END IF;
    -- What still burns is not filed away; where only sensors that say nothing stand, an approver answers by name.
    IF NEW.state = 'archived' AND OLD.state <> 'archived'
       AND EXISTS (SELECT FROM standing_alarms(NEW.id) WHERE believed OR NEW.waived_by IS NULL) THEN
        RAISE EXCEPTION 'incident % has a standing alarm', OLD.number
            USING ERRCODE = 'check_violation', CONSTRAINT = 'incidents_nothing_stands';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER incidents_move BEFORE UPDATE OF state ON incidents
    FOR EACH ROW EXECUTE FUNCTION check_incident_move();

-- Who handles beside the lead unit, which alone answers for the deadline.
CREATE TABLE incident_co_units (
    incident_id bigint NOT NULL REFERENCES incidents (id),
    unit_id     integer NOT NULL REFERENCES units (id),
    PRIMARY KEY (incident_id, unit_id)
);

-- What a unit asked for. It keeps the incident until somebody decides: handle first, adjust later.
CREATE TABLE incident_requests (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    incident_id bigint NOT NULL REFERENCES incidents (id),
    ask         text NOT NULL CONSTRAINT incident_requests_ask_known
        CHECK (ask IN ('return', 'transfer', 'extend', 'suspend', 'dispute')),
    unit_id     integer REFERENCES units (id),    -- who asked; null = the centre itself
    asked_by    text NOT NULL,
    asked_at    timestamptz NOT NULL,
    to_unit_id  integer REFERENCES units (id),
    "limit"     text NOT NULL DEFAULT '',
    state       text NOT NULL DEFAULT 'open' CONSTRAINT incident_requests_state_known CHECK (state IN (
        'open',                                   -- waits for an approver, the unit asked, or the arbiter
        'granted', 'refused',
        'withdrawn')),                            -- by who asked, or because the incident was over
    decided_by  text,
    decided_at  timestamptz,
    CONSTRAINT incident_requests_decided_by_somebody CHECK ((state = 'open') = (decided_by IS NULL)),
    CONSTRAINT incident_requests_decided_in_time CHECK ((decided_by IS NULL) = (decided_at IS NULL)),
    -- Who asks does not grant.
    CONSTRAINT incident_requests_not_own_approver CHECK (state <> 'granted' OR decided_by <> asked_by),
    CONSTRAINT incident_requests_not_to_itself CHECK (to_unit_id <> unit_id)
);
CREATE UNIQUE INDEX incident_requests_one_open ON incident_requests (incident_id, ask) WHERE state = 'open';
-- 首问负责: a unit asks for a transfer of an incident once.
CREATE UNIQUE INDEX incident_requests_one_transfer ON incident_requests (incident_id, unit_id)
    WHERE ask = 'transfer' AND state <> 'withdrawn';
CREATE INDEX incident_requests_waiting ON incident_requests (asked_at) WHERE state = 'open';

-- ── clocks ────────────────────────────────────────────────────────────────────────────────────────────
CREATE TABLE incident_clocks (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    incident_id  bigint NOT NULL REFERENCES incidents (id),
    stage        text NOT NULL CONSTRAINT incident_clocks_stage_known CHECK (stage IN ('accept', 'dispatch',
        'acknowledge', 'arrive', 'handle', 'verify', 'feedback', 'archive', 'answer', 'suspension')),
    unit_id      integer REFERENCES units (id),   -- whose time it is; null = the centre's
    "limit"      text NOT NULL,                   -- 30m, 240wm, 3wd
    started_at   timestamptz NOT NULL,
    due_at       timestamptz NOT NULL,
    paused_at    timestamptz,
    left_minutes integer,                         -- natural or working minutes; never below zero
    ended_at     timestamptz,
    outcome      text CONSTRAINT incident_clocks_outcome_known CHECK (outcome IN ('met', 'late', 'cancelled')),
    provisional  boolean NOT NULL DEFAULT false,  -- rests on a year whose calendar is not published
    said         smallint NOT NULL DEFAULT 0,     -- steps of the ladder that were told
    next_at      timestamptz,                     -- when the next step is; null = never
    CONSTRAINT incident_clocks_due_after_start CHECK (due_at >= started_at),
    CONSTRAINT incident_clocks_left_not_negative CHECK (left_minutes >= 0),
    CONSTRAINT incident_clocks_paused_knows_left CHECK ((paused_at IS NULL) = (left_minutes IS NULL)),
    CONSTRAINT incident_clocks_ended_has_outcome CHECK ((ended_at IS NULL) = (outcome IS NULL)),
    CONSTRAINT incident_clocks_silent_when_over CHECK (next_at IS NULL OR (ended_at IS NULL AND paused_at IS NULL))
);
-- Two open clocks of one stage would urge twice.
CREATE UNIQUE INDEX incident_clocks_one_open ON incident_clocks (incident_id, stage) WHERE ended_at IS NULL;
CREATE INDEX incident_clocks_due ON incident_clocks (next_at) WHERE next_at IS NOT NULL;
CREATE INDEX incident_clocks_of ON incident_clocks (incident_id);
