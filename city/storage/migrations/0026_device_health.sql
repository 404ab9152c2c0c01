-- Is each device well: who owes a word, which of its metrics stopped, what its battery and its radio do, how much of
-- the time it was there. Our own deafness is nobody's silence.

-- ── when we listened ──────────────────────────────────────────────────────────────────────────────────
-- Stretches in which any ingest was caught up, the newest first, and how long we listened from each one's begin to now.
CREATE VIEW listening_back AS
    SELECT began, sum(ended - began) OVER (ORDER BY began DESC) AS listened
    FROM (
        SELECT min(listening_from) AS began, max(alive_at) AS ended
        FROM (
            SELECT listening_from, alive_at,
                   count(*) FILTER (WHERE before IS NULL OR listening_from > before)
                       OVER (ORDER BY listening_from, alive_at) AS stretch
            FROM (
                SELECT listening_from, alive_at,
                       max(alive_at) OVER (ORDER BY listening_from, alive_at
                                           ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
                FROM ingest_sessions WHERE caught_up
            ) each_session
        ) numbered GROUP BY stretch
    ) stretches;

-- For every expected interval that occurs (0 = nobody knows one): a device of which nothing came since late_before owes
-- a word, since silent_before it is silent. As city.devices.silent says it, in time that we listened; a database in
-- which no ingest ever listened goes by the clock. 'epoch' = nobody is (no -infinity: no datetime of Python's holds it).
-- Every interval is in it; LEFT JOIN it all the same: the planner then knows that no device is lost by it.
CREATE VIEW heard_limits AS
    WITH back AS MATERIALIZED (SELECT began, listened FROM listening_back),
    ever AS MATERIALIZED (SELECT EXISTS (SELECT FROM ingest_sessions) AS listened),
    limits AS (
        SELECT interval_s,
               make_interval(secs => greatest(90, 1.5 * coalesce(nullif(interval_s, 0), 1200))) AS late,
               make_interval(secs => greatest(120, 3 * coalesce(nullif(interval_s, 0), 1200))) AS silent
        FROM (
            SELECT 0 AS interval_s
            UNION SELECT expected_interval_s FROM device_kinds WHERE expected_interval_s IS NOT NULL
            UNION SELECT expected_interval_s FROM devices WHERE expected_interval_s IS NOT NULL
        ) each_interval
    ), cut AS MATERIALIZED (                      -- once for a query, not once for a device
    SELECT l.interval_s,
           CASE WHEN ever.listened THEN coalesce(
               (SELECT b.began + (b.listened - l.late) FROM back b WHERE b.listened >= l.late
                ORDER BY b.began DESC LIMIT 1), 'epoch')
               ELSE now() - l.late END AS late_before,
           CASE WHEN ever.listened THEN coalesce(
               (SELECT b.began + (b.listened - l.silent) FROM back b WHERE b.listened >= l.silent
                ORDER BY b.began DESC LIMIT 1), 'epoch')
               ELSE now() - l.silent END AS silent_before
    FROM limits l CROSS JOIN ever)
    SELECT interval_s, late_before, silent_before FROM cut;

-- ── metrics of a device ───────────────────────────────────────────────────────────────────────────────
-- What each device sends and how often, learned from what came. Looked at again when it could have fallen silent.
CREATE TABLE device_metrics (
    device_id   integer NOT NULL REFERENCES devices (id) ON DELETE CASCADE,
    metric_id   smallint NOT NULL REFERENCES metrics (id),
    last_at     timestamptz NOT NULL,             -- arrival of the newest reading
    value       double precision NOT NULL,        -- and what it said
    every_s     real,                             -- how often it comes; null = too few came to tell
    limit_s     real,                             -- listening time after which it is missed
    due_at      timestamptz NOT NULL DEFAULT 'infinity', -- when it could be missed at the earliest
    blind_since timestamptz,                      -- missed while the device speaks: its last arrival; null = it comes
    PRIMARY KEY (device_id, metric_id)
);
CREATE INDEX device_metrics_due ON device_metrics (due_at);
CREATE INDEX device_metrics_blind ON device_metrics (device_id) WHERE blind_since IS NOT NULL;

-- ── battery, radio, and when to look again ────────────────────────────────────────────────────────────
CREATE TABLE device_health (
    device_id        integer PRIMARY KEY REFERENCES devices (id) ON DELETE CASCADE,
    look_at          timestamptz NOT NULL DEFAULT 'infinity', -- when its metrics are learned again
    trend_day        date,                        -- up to which day the trends reach; null = none was worked out
    battery          text CONSTRAINT device_health_battery_known CHECK (battery IN (
        'falling',                                -- it will be empty between end_early and end_late
        'steady',                                 -- it does not fall measurably
        'far',                                    -- it falls so slowly that no date would be honest
        'empty',                                  -- it is there
        'stale',                                  -- it said nothing for two weeks
        'not_enough',                             -- too few days since it was new
        'voltage')),                              -- it tells volts only, which say no share without its cell's curve
    battery_percent  real,
    battery_per_day  real,                        -- %, negative = falling
    battery_since    date,                        -- when it was new or charged, as far as is known
    end_at           date,
    end_early        date,
    end_late         date,                        -- null beside end_at = may last for good
    signal           text CONSTRAINT device_health_signal_known CHECK (signal IN
        ('falling', 'steady', 'rising', 'stale', 'not_enough')),
    signal_metric_id smallint REFERENCES metrics (id),
    signal_value     real,
    signal_per_week  real
);
CREATE INDEX device_health_look ON device_health (look_at);
CREATE INDEX device_health_end ON device_health (end_at) WHERE end_at IS NOT NULL;

-- Medians of a UTC day, of battery and radio only: what a year's trend is drawn through.
CREATE TABLE daily_medians (
    device_id integer NOT NULL,
    metric_id smallint NOT NULL,
    day       date NOT NULL,
    median    real NOT NULL,
    PRIMARY KEY (device_id, metric_id, day)
);
CREATE INDEX daily_medians_by_day ON daily_medians (day);

-- ── availability ──────────────────────────────────────────────────────────────────────────────────────
-- Hours of a UTC day as bits, 1 << hour: of each device those in which something was heard, of ours those in which we
-- listened all the time. An hour in which we did not counts neither for a device nor against it.
CREATE TABLE heard_hours (
    day       date NOT NULL,
    device_id integer NOT NULL,
    hours     integer NOT NULL CONSTRAINT heard_hours_of_a_day CHECK (hours > 0 AND hours < 16777216),
    PRIMARY KEY (day, device_id)
) WITH (fillfactor = 80);
CREATE TABLE listened_hours (
    day   date PRIMARY KEY,
    hours integer NOT NULL CONSTRAINT listened_hours_of_a_day CHECK (hours >= 0 AND hours < 16777216)
);

-- How far the daily work reached: days before this one have their medians and their heard hours from the rollups.
CREATE TABLE device_health_progress (
    only_one  boolean PRIMARY KEY DEFAULT true CONSTRAINT device_health_progress_only_one CHECK (only_one),
    done_to   date NOT NULL
);

-- How many spans of ``span`` hours (1, 2, 3, 4, 6, 8, 12, 24) of a day were listened to in full and heard in.
CREATE FUNCTION heard_spans(heard integer, listened integer, span integer) RETURNS integer
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN span = 1 THEN bit_count((heard & listened)::bit(24))::integer
        ELSE (SELECT count(*)::integer FROM generate_series(0, 23, span) AS at
              WHERE (listened >> at) & ((1 << span) - 1) = (1 << span) - 1 AND (heard >> at) & ((1 << span) - 1) <> 0) END
$$;
