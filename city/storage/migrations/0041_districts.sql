-- Several districts, each with a database of its own, beside each other (docs/districts.md).

-- Which partitions of a shared log this database's workers read; no row = all of them. It stands beside the offsets, so
-- that both move together and no worker can read another district's partition into this database.
CREATE TABLE served_partitions (
    partition smallint PRIMARY KEY CONSTRAINT served_partitions_counted CHECK (partition >= 0)
);

-- In a database that a district is moved to: from where, and how far that is. One row at most.
CREATE TABLE district_moves (
    only_one    boolean PRIMARY KEY DEFAULT true CONSTRAINT district_moves_only_one CHECK (only_one),
    source      text NOT NULL,                    -- the old database's own identity
    state       text NOT NULL DEFAULT 'copying'
        CONSTRAINT district_moves_state_known CHECK (state IN (
            'copying',                            -- the past is being copied; the old one serves, or nobody does
            'switched',                           -- this one serves; what came late may still be in the old one alone
            'done')),                             -- everything was compared
    copied_to   timestamptz NOT NULL DEFAULT '-infinity', -- observations before it are here
    copying_to  timestamptz,                      -- the round under way ends here; null = none is
    begun_at    timestamptz NOT NULL DEFAULT now(),
    switched_at timestamptz,
    done_at     timestamptz
);
-- Slices of the past that are here, each written in the transaction that wrote its rows.
CREATE TABLE district_move_slices (
    of_table     text NOT NULL,
    first_device integer NOT NULL,                -- of a block of devices
    to_at        timestamptz NOT NULL,            -- the round: observations before it that were not in the one before
    counted      bigint NOT NULL,
    digest       bigint NOT NULL,                 -- exclusive or of the rows' hashes
    PRIMARY KEY (of_table, first_device, to_at)
);
REVOKE ALL ON served_partitions, district_moves, district_move_slices FROM city_within;

-- The city's list goes through several districts by the instant of opening.
CREATE INDEX incidents_by_opening ON incidents (opened_at DESC, id DESC);

-- What the city's own centre reads of a district: views with stable names, nothing of a person and nothing that people
-- typed. Its account is granted this schema alone (deploy/districts/reader.sql).
CREATE SCHEMA overview;

CREATE VIEW overview.district AS
SELECT d.code, d.name, d.name_en, d.response_level, now() AS at FROM public.district d;

CREATE VIEW overview.incidents AS
SELECT i.id, i.number, i.state, i.class, i.category, coalesce(g.name, i.category) AS category_name,
       coalesce(nullif(g.name_en, ''), i.category) AS category_name_en, c.code AS cell,
       coalesce(c.name, '') AS cell_name, coalesce(nullif(c.name_en, ''), c.name, '') AS cell_name_en,
       u.name AS unit_name, coalesce(nullif(u.name_en, ''), u.name) AS unit_name_en,
       i.opened_at, i.due_at, i.acknowledged_at, i.closed_at, i.exercise
FROM public.incidents i
LEFT JOIN public.categories g ON g.code = i.category
LEFT JOIN public.areas c ON c.id = i.area_id
LEFT JOIN public.units u ON u.id = i.unit_id;

CREATE VIEW overview.open_incidents AS
SELECT i.class, count(*) AS open, count(*) FILTER (WHERE i.acknowledged_at IS NULL) AS unacknowledged,
       count(*) FILTER (WHERE i.due_at < now() AND i.state <> 'suspended') AS overdue
FROM public.incidents i WHERE i.closed_at IS NULL AND NOT i.exercise GROUP BY i.class;

CREATE VIEW overview.alarms AS
SELECT count(*) AS standing FROM public.alarms a
WHERE a.cleared_at IS NULL AND a.suppressed IS NULL AND NOT a.exercise;

-- On line as every screen counts it: heard within three of its intervals of the time that we listened, no last will.
CREATE VIEW overview.devices AS
SELECT count(*) AS devices,
       count(*) FILTER (WHERE p.link IS DISTINCT FROM 'offline' AND p.last_heard_at > l.silent_before
           AND d.id NOT IN (SELECT device_id FROM public.alarms WHERE cleared_at IS NULL
                            AND category = 'device.silent' AND device_id IS NOT NULL)) AS online
FROM public.devices d
JOIN public.device_kinds k ON k.code = d.kind
LEFT JOIN public.heard_limits l ON l.interval_s = coalesce(d.expected_interval_s, k.expected_interval_s, 0)
LEFT JOIN public.presence p ON p.device_id = d.id
WHERE d.registration <> 'retired' AND d.service_state <> 'out_of_service';

CREATE VIEW overview.water AS
SELECT count(*) AS stations, count(*) FILTER (WHERE newest.value >= t.warning_level_m) AS above_warning
FROM public.stations t
JOIN public.devices d ON d.id = t.device_id AND d.registration <> 'retired'
JOIN public.device_kinds k ON k.code = d.kind
JOIN public.metrics m ON m.code = k.main_metric
LEFT JOIN LATERAL (
    SELECT o.value FROM public.observations o
    WHERE o.device_id = t.device_id AND o.metric_id = m.id AND o.quality & 52 = 0
      AND o.observed_at > now() - interval '6 hours' AND o.observed_at < now() + interval '2 minutes'
    ORDER BY o.observed_at DESC LIMIT 1
) newest ON true
WHERE t.warning_level_m IS NOT NULL;
