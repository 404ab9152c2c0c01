-- The working calendar as people keep it, the versions that deadlines rest on, and who is told when time runs out.

-- ── calendar ──────────────────────────────────────────────────────────────────────────────────────────
-- A year that somebody entered. Complete: the yearly arrangement as a whole, so that nothing in it is provisional.
CREATE TABLE calendar_years (
    year     smallint PRIMARY KEY CONSTRAINT calendar_years_sensible CHECK (year BETWEEN 2000 AND 2100),
    complete boolean NOT NULL
);
-- Days that differ: in a complete year from Monday to Friday, in any other from what is known without them.
CREATE TABLE calendar_days (
    day     date PRIMARY KEY,
    working boolean NOT NULL,
    note    text NOT NULL DEFAULT '',
    year    smallint NOT NULL GENERATED ALWAYS AS (extract(year FROM day)::smallint) STORED
        REFERENCES calendar_years (year)
);
-- What was known, version by version. A deadline names the version that it was worked out with; without the old
-- days nobody could tell how far a new arrangement moves it.
CREATE TABLE calendar_versions (
    version    integer PRIMARY KEY,
    made_at    timestamptz NOT NULL DEFAULT now(),
    actor      text NOT NULL,
    reason     text NOT NULL,
    first_year smallint NOT NULL,
    last_year  smallint NOT NULL,
    published  smallint[] NOT NULL,               -- years that are no longer provisional
    exceptions jsonb NOT NULL,                    -- {"2026-01-01": false}: all days that differ from Monday to Friday
    CONSTRAINT calendar_versions_years_in_order CHECK (first_year <= last_year)
);
CREATE TRIGGER calendar_versions_bump AFTER INSERT OR UPDATE OR DELETE ON calendar_versions
    FOR EACH STATEMENT EXECUTE FUNCTION directory_changed();

-- The version a clock rests on; null = natural minutes, which rest on none.
ALTER TABLE incident_clocks ADD COLUMN calendar integer;
CREATE INDEX incident_clocks_by_calendar ON incident_clocks (calendar)
    WHERE ended_at IS NULL AND calendar IS NOT NULL;
-- The board reads open clocks, the most pressing first: of everybody, and of one unit.
CREATE INDEX incident_clocks_open ON incident_clocks (due_at, id) WHERE ended_at IS NULL;
CREATE INDEX incident_clocks_open_of_unit ON incident_clocks (unit_id, due_at, id) WHERE ended_at IS NULL;

-- ── urging ────────────────────────────────────────────────────────────────────────────────────────────
CREATE TABLE urging_steps (
    event_level smallint NOT NULL CONSTRAINT urging_steps_level_known CHECK (event_level BETWEEN 0 AND 4), -- 0 = all
    class       text NOT NULL CONSTRAINT urging_steps_class_known CHECK (class IN ('', 'A', 'B', 'C')), -- '' = all
    stage       text NOT NULL CONSTRAINT urging_steps_stage_known CHECK (stage IN ('accept', 'dispatch',
        'acknowledge', 'arrive', 'handle', 'verify', 'feedback', 'archive', 'answer', 'suspension')),
    step        smallint NOT NULL CONSTRAINT urging_steps_counted CHECK (step BETWEEN 1 AND 9),
    at          text NOT NULL,                    -- relative to the deadline: -20%, -30m, 0, +50%, +4wh
    purpose     text NOT NULL CONSTRAINT urging_steps_purpose_known
        CHECK (purpose IN ('remind', 'overdue', 'urge', 'escalate')),
    -- A step that tells nobody would be counted as told.
    tell        text[] NOT NULL CONSTRAINT urging_steps_tell_known CHECK (
        cardinality(tell) > 0
        AND tell <@ ARRAY['handler', 'unit_lead', 'parent_lead', 'district', 'supervisor']),
    PRIMARY KEY (event_level, class, stage, step)
);
INSERT INTO urging_steps (event_level, class, stage, step, at, purpose, tell) VALUES
    (0, '', 'acknowledge', 1, '0', 'urge', '{unit_lead}'),
    (0, '', 'acknowledge', 2, '+100%', 'escalate', '{parent_lead}'),
    (1, '', 'acknowledge', 1, '0', 'urge', '{unit_lead}'),
    (1, '', 'acknowledge', 2, '+100%', 'escalate', '{parent_lead}'),
    (1, '', 'acknowledge', 3, '+200%', 'escalate', '{district,supervisor}'),
    (2, '', 'acknowledge', 1, '0', 'urge', '{unit_lead}'),
    (2, '', 'acknowledge', 2, '+100%', 'escalate', '{parent_lead}'),
    (2, '', 'acknowledge', 3, '+200%', 'escalate', '{district,supervisor}'),
    (0, '', 'arrive', 1, '0', 'urge', '{unit_lead}'),
    (0, '', 'arrive', 2, '+100%', 'escalate', '{parent_lead}'),
    (0, '', 'handle', 1, '-20%', 'remind', '{handler}'),
    (0, '', 'handle', 2, '0', 'overdue', '{unit_lead}'),
    (0, '', 'handle', 3, '+25%', 'urge', '{parent_lead}'),
    (0, '', 'handle', 4, '+50%', 'escalate', '{district}'),
    (1, '', 'handle', 1, '-20%', 'remind', '{handler}'),
    (1, '', 'handle', 2, '0', 'overdue', '{unit_lead,district}'),
    (1, '', 'handle', 3, '+25%', 'urge', '{parent_lead,supervisor}'),
    (1, '', 'handle', 4, '+50%', 'escalate', '{district,supervisor}'),
    (2, '', 'handle', 1, '-20%', 'remind', '{handler}'),
    (2, '', 'handle', 2, '0', 'overdue', '{unit_lead,district}'),
    (2, '', 'handle', 3, '+25%', 'urge', '{parent_lead,supervisor}'),
    (2, '', 'handle', 4, '+50%', 'escalate', '{district,supervisor}'),
    (0, '', 'accept', 1, '-20%', 'remind', '{handler}'),
    (0, '', 'accept', 2, '0', 'overdue', '{unit_lead}'),
    (0, '', 'accept', 3, '+50%', 'escalate', '{district}'),
    (0, '', 'dispatch', 1, '-20%', 'remind', '{handler}'),
    (0, '', 'dispatch', 2, '0', 'overdue', '{unit_lead}'),
    (0, '', 'dispatch', 3, '+50%', 'escalate', '{district}'),
    (0, '', 'verify', 1, '-20%', 'remind', '{handler}'),
    (0, '', 'verify', 2, '0', 'overdue', '{unit_lead}'),
    (0, '', 'verify', 3, '+50%', 'escalate', '{district}'),
    (0, '', 'feedback', 1, '-20%', 'remind', '{handler}'),
    (0, '', 'feedback', 2, '0', 'overdue', '{unit_lead}'),
    (0, '', 'feedback', 3, '+50%', 'escalate', '{district}'),
    (0, '', 'archive', 1, '-20%', 'remind', '{handler}'),
    (0, '', 'archive', 2, '0', 'overdue', '{unit_lead}'),
    (0, '', 'archive', 3, '+50%', 'escalate', '{district}'),
    (0, '', 'answer', 1, '-20%', 'remind', '{handler}'),
    (0, '', 'answer', 2, '0', 'overdue', '{unit_lead}'),
    (0, '', 'answer', 3, '+50%', 'escalate', '{district}'),
    (0, '', 'suspension', 1, '-20%', 'remind', '{handler}'),
    (0, '', 'suspension', 2, '0', 'overdue', '{unit_lead}'),
    (0, '', 'suspension', 3, '+50%', 'escalate', '{district}');
CREATE TRIGGER urging_steps_bump AFTER INSERT OR UPDATE OR DELETE ON urging_steps
    FOR EACH STATEMENT EXECUTE FUNCTION directory_changed();

-- ── clocks of incidents that were open before there were clocks ───────────────────────────────────────
INSERT INTO incident_clocks (incident_id, stage, unit_id, "limit", started_at, due_at, said, next_at)
SELECT id, 'handle', unit_id,
       greatest(1, least(999999, ceil(extract(epoch FROM due_at - opened_at) / 60)))::integer || 'm',
       least(opened_at, due_at), due_at,
       CASE WHEN overdue_at IS NULL THEN 0 ELSE 2 END,
       CASE WHEN overdue_at IS NULL THEN due_at END
FROM incidents
WHERE closed_at IS NULL AND due_at IS NOT NULL AND state IN ('filed', 'dispatched', 'acknowledged');
INSERT INTO incident_clocks (incident_id, stage, unit_id, "limit", started_at, due_at, said, next_at)
SELECT id, 'acknowledge', unit_id, '5m', awaiting_since, awaiting_since + interval '5 minutes',
       least(urged_level, 2),
       CASE WHEN urged_level < 2 THEN awaiting_since + interval '5 minutes' * (urged_level + 1) END
FROM incidents
WHERE closed_at IS NULL AND state = 'dispatched' AND acknowledged_at IS NULL AND awaiting_since IS NOT NULL;
