-- The flood desk: response levels, warnings, evacuation and inspection tasks, the duty log (docs/flood.md).

-- ── response level ────────────────────────────────────────────────────────────────────────────────────
-- What proposes a level. Seeded from city/defaults/flood.toml when the table is empty, edited by administrators.
CREATE TABLE flood_triggers (
    id         text PRIMARY KEY,
    level      text NOT NULL CONSTRAINT flood_triggers_level_known CHECK (level IN ('I', 'II', 'III', 'IV')),
    place      integer NOT NULL,                  -- order in which people read them
    definition jsonb NOT NULL,                    -- kind and limits, names in both languages, why and source
    enabled    boolean NOT NULL DEFAULT true,
    version    integer NOT NULL DEFAULT 1,
    changed_by text NOT NULL DEFAULT 'import',
    changed_at timestamptz NOT NULL DEFAULT now()
);

-- When a trigger of a level last fired: lowering is proposed only hours later, also after a restart.
CREATE TABLE flood_level_fired (
    level text PRIMARY KEY CONSTRAINT flood_level_fired_known CHECK (level IN ('I', 'II', 'III', 'IV')),
    at    timestamptz NOT NULL
);

-- A proposal is written when its level or its triggers change, not every half minute.
CREATE TABLE flood_proposals (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at          timestamptz NOT NULL,
    level       text CONSTRAINT flood_proposals_level_known CHECK (level IN ('I', 'II', 'III', 'IV')), -- null = none
    current     text,                             -- the level in force then
    fired       jsonb NOT NULL,                   -- triggers with values and limits: explains it without the data
    words       text NOT NULL,
    words_en    text NOT NULL,
    answered_at timestamptz,                      -- by a person who confirmed it or set something else
    answered_by text
);

-- Every change of the level in force, by whom and why; the last row is what holds.
CREATE TABLE flood_responses (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at          timestamptz NOT NULL,
    level       text CONSTRAINT flood_responses_level_known CHECK (level IN ('I', 'II', 'III', 'IV')), -- null = ended
    previous    text,
    action      text NOT NULL CONSTRAINT flood_responses_action_known CHECK (action IN ('confirm', 'set', 'end')),
    proposal_id bigint REFERENCES flood_proposals (id),
    actor       text NOT NULL,
    reason      text NOT NULL,
    -- A level that somebody set without saying why cannot be defended afterwards.
    CONSTRAINT flood_responses_reason_given CHECK (reason <> ''),
    CONSTRAINT flood_responses_confirm_names_proposal CHECK (action <> 'confirm' OR proposal_id IS NOT NULL)
);
CREATE TRIGGER flood_responses_append_only BEFORE UPDATE OR DELETE ON flood_responses
    FOR EACH ROW EXECUTE FUNCTION refuse_change();

-- The level band in which each station was last seen, so that the duty log holds each crossing once.
CREATE TABLE flood_station_bands (
    device_id integer PRIMARY KEY REFERENCES devices (id) ON DELETE CASCADE,
    state     text NOT NULL,
    since     timestamptz NOT NULL
);

-- ── warnings ──────────────────────────────────────────────────────────────────────────────────────────
CREATE TABLE flood_warnings (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    state       text NOT NULL DEFAULT 'draft' CONSTRAINT flood_warnings_state_known CHECK (state IN (
        'draft',                                  -- seen by the desk only. Leaves by issue, or by cancel (thrown away)
        'issued',                                 -- in force. Stays by update, leaves by cancel or at expires_at
        'cancelled',                              -- final
        'expired')),                              -- final
    colour      text NOT NULL CONSTRAINT flood_warnings_colour_known CHECK (colour IN ('blue', 'yellow', 'orange', 'red')),
    exercise    boolean NOT NULL DEFAULT false,   -- fixed with the draft: a drill must never turn into the real thing
    content     jsonb NOT NULL,                   -- what the newest message says, or the draft will say
    expires_at  timestamptz NOT NULL,
    reminded_at timestamptz,                      -- the duty officer was told that it is about to end
    created_at  timestamptz NOT NULL,
    created_by  text NOT NULL,
    ended_at    timestamptz,
    version     integer NOT NULL DEFAULT 1,
    CONSTRAINT flood_warnings_ended_when_final CHECK ((state IN ('cancelled', 'expired')) = (ended_at IS NOT NULL))
);
CREATE INDEX flood_warnings_in_force ON flood_warnings (expires_at) WHERE state = 'issued';

-- What went out, byte for byte. A warning that can be changed afterwards proves nothing.
CREATE TABLE flood_warning_messages (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    warning_id   bigint NOT NULL REFERENCES flood_warnings (id),
    seq          integer NOT NULL,                -- 1 = the Alert
    message_type text NOT NULL CONSTRAINT flood_messages_type_known CHECK (message_type IN ('Alert', 'Update', 'Cancel')),
    exercise     boolean NOT NULL,
    colour       text NOT NULL,
    identifier   text NOT NULL CONSTRAINT flood_messages_identifier_once UNIQUE,
    sender       text NOT NULL,
    sent         timestamptz NOT NULL,
    headline     text NOT NULL,
    headline_en  text NOT NULL,
    refers_to    text[] NOT NULL,                 -- identifiers of the messages before it
    content      jsonb NOT NULL,
    xml          bytea NOT NULL,
    sha256       bytea NOT NULL,
    actor        text NOT NULL,
    reason       text NOT NULL,
    CONSTRAINT flood_messages_in_order UNIQUE (warning_id, seq),
    CONSTRAINT flood_messages_digest_fits CHECK (sha256 = sha256(xml)),
    -- An update that names nothing would be shown beside the warning it replaces.
    CONSTRAINT flood_messages_refer_back CHECK ((message_type = 'Alert') = (refers_to = '{}'))
);
CREATE INDEX flood_messages_by_time ON flood_warning_messages (sent DESC, id DESC);
CREATE TRIGGER flood_messages_append_only BEFORE UPDATE OR DELETE ON flood_warning_messages
    FOR EACH ROW EXECUTE FUNCTION refuse_change();

-- ── evacuation and inspection ─────────────────────────────────────────────────────────────────────────
-- Who lives where the water comes: the list the streets keep, by cell.
CREATE TABLE flood_headcounts (
    area_id    integer PRIMARY KEY REFERENCES areas (id),
    to_move    integer NOT NULL CONSTRAINT flood_headcounts_not_negative CHECK (to_move >= 0),
    note       text NOT NULL DEFAULT '',
    changed_by text NOT NULL,
    changed_at timestamptz NOT NULL
);

CREATE TABLE flood_tasks (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind        text NOT NULL CONSTRAINT flood_tasks_kind_known CHECK (kind IN ('evacuate', 'inspect')),
    incident_id bigint NOT NULL CONSTRAINT flood_tasks_one_incident UNIQUE REFERENCES incidents (id),
    area_id     integer NOT NULL REFERENCES areas (id),  -- the cell
    to_move     integer NOT NULL CONSTRAINT flood_tasks_to_move_not_negative CHECK (to_move >= 0),
    deadline    timestamptz NOT NULL,
    reason      text NOT NULL,
    note        text NOT NULL DEFAULT '',
    exercise    boolean NOT NULL,
    opened_at   timestamptz NOT NULL,
    opened_by   text NOT NULL,
    version     integer NOT NULL DEFAULT 1,
    done_at     timestamptz,                      -- nobody is left, or the round was made
    CONSTRAINT flood_tasks_inspection_moves_nobody CHECK (kind = 'evacuate' OR to_move = 0)
);
CREATE INDEX flood_tasks_open ON flood_tasks (area_id) WHERE done_at IS NULL;

-- What the grid worker reported: sums so far, not steps, so that a report sent twice counts once.
CREATE TABLE flood_task_reports (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    task_id bigint NOT NULL REFERENCES flood_tasks (id),
    at      timestamptz NOT NULL,
    actor   text NOT NULL,
    to_move integer NOT NULL,                     -- as known then: more or fewer people are found on the spot
    moved   integer NOT NULL,
    absent  integer NOT NULL,                     -- not there, checked at the door: need not be moved
    refused integer NOT NULL,                     -- still there and unwilling: remain to be moved
    done    boolean NOT NULL,
    note    text NOT NULL DEFAULT '',
    reason  text NOT NULL DEFAULT '',
    CONSTRAINT flood_task_reports_not_negative CHECK (to_move >= 0 AND moved >= 0 AND absent >= 0 AND refused >= 0)
);
CREATE INDEX flood_task_reports_by_task ON flood_task_reports (task_id, id DESC);
CREATE TRIGGER flood_task_reports_append_only BEFORE UPDATE OR DELETE ON flood_task_reports
    FOR EACH ROW EXECUTE FUNCTION refuse_change();

-- ── duty log ──────────────────────────────────────────────────────────────────────────────────────────
-- 值班日志: appended, never changed; a correction is a new entry that names the old one.
CREATE TABLE flood_duty_log (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at        timestamptz NOT NULL,
    shift     text NOT NULL,                      -- 2026-11-22 day, by the district's clock
    kind      text NOT NULL CONSTRAINT flood_duty_log_kind_known CHECK (kind IN (
        'note', 'correction',                     -- by a person
        'response', 'warning', 'station', 'task')), -- by itself
    text      text NOT NULL CONSTRAINT flood_duty_log_says_something CHECK (text <> ''),
    text_en   text NOT NULL DEFAULT '',
    actor     text NOT NULL,
    object    text NOT NULL DEFAULT '',           -- what it is about: warning:3, station:W1, task:7
    exercise  boolean NOT NULL DEFAULT false,
    refers_to bigint REFERENCES flood_duty_log (id),
    CONSTRAINT flood_duty_log_correction_names_entry CHECK ((kind = 'correction') = (refers_to IS NOT NULL))
);
CREATE INDEX flood_duty_log_by_time ON flood_duty_log (at, id);
CREATE TRIGGER flood_duty_log_append_only BEFORE UPDATE OR DELETE ON flood_duty_log
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
