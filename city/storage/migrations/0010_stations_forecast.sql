-- Stations in full: kinds, gauge zero, further levels, where their water comes from; and what is forecast for them.

ALTER TABLE stations
    ADD COLUMN zero_m         double precision,   -- lowest level the gauge can read; null = unknown. 0 where depth is read
    ADD COLUMN bank_level_m   double precision,   -- 堤顶 or kerb: from here on the water is out
    ADD COLUMN design_level_m double precision,   -- 设计水位
    -- A warning level under the gauge's zero stands from the first reading on and is soon believed by nobody.
    ADD CONSTRAINT stations_zero_below_warning CHECK (zero_m IS NULL OR warning_level_m IS NULL OR zero_m < warning_level_m),
    -- A warning level at the bank calls people after the water is out.
    ADD CONSTRAINT stations_bank_above_warning CHECK (
        bank_level_m IS NULL OR warning_level_m IS NULL OR warning_level_m < bank_level_m),
    ADD CONSTRAINT stations_design_above_warning CHECK (
        design_level_m IS NULL OR warning_level_m IS NULL OR warning_level_m <= design_level_m);

-- A river has several tributaries. `stations.upstream` and `travel_minutes` go on holding the first of them.
CREATE TABLE station_upstreams (
    station_id     integer NOT NULL REFERENCES stations (device_id) ON DELETE CASCADE,
    upstream_id    integer NOT NULL REFERENCES stations (device_id) ON DELETE CASCADE,
    travel_minutes integer CONSTRAINT station_upstreams_travel_not_negative CHECK (travel_minutes >= 0),
    PRIMARY KEY (station_id, upstream_id),
    CONSTRAINT station_upstreams_not_itself CHECK (station_id <> upstream_id)
);
CREATE INDEX station_upstreams_downward ON station_upstreams (upstream_id);
INSERT INTO station_upstreams (station_id, upstream_id, travel_minutes)
    SELECT s.device_id, u.device_id, CASE WHEN s.travel_minutes >= 0 THEN s.travel_minutes END
    FROM stations s JOIN devices d ON d.code = s.upstream JOIN stations u ON u.device_id = d.id
    WHERE u.device_id <> s.device_id;

-- What else tells of this station's water: a rain gauge, a dam's release, a tide gauge, a river not in the list.
CREATE TABLE station_series (
    station_id     integer NOT NULL REFERENCES stations (device_id) ON DELETE CASCADE,
    device_id      integer NOT NULL REFERENCES devices (id) ON DELETE CASCADE,
    metric         text NOT NULL,
    role           text NOT NULL CONSTRAINT station_series_role_known
        CHECK (role IN ('rain', 'release', 'tide', 'level_upstream', 'other')),
    travel_minutes integer CONSTRAINT station_series_travel_not_negative CHECK (travel_minutes >= 0),
    PRIMARY KEY (station_id, device_id, metric)
);

-- ── forecasts ─────────────────────────────────────────────────────────────────────────────────────────
-- Each training is a new version; the newest is in use, the last few are kept to explain old forecasts.
CREATE TABLE forecast_models (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    station_id    integer NOT NULL REFERENCES stations (device_id) ON DELETE CASCADE,
    version       integer NOT NULL,
    kind          text NOT NULL,                  -- regression, damped_trend
    trained_at    timestamptz NOT NULL,
    first_at      timestamptz NOT NULL,           -- oldest and
    trained_until timestamptz NOT NULL,           -- newest level it has seen
    rows          integer NOT NULL,               -- levels it was trained on
    took_s        double precision NOT NULL,
    scores        jsonb NOT NULL,                 -- by horizon, cross-validated
    model         jsonb NOT NULL,
    -- Two centres that train at once must not both become version 7.
    CONSTRAINT forecast_models_version_once UNIQUE (station_id, version)
);

-- One row for each time a station was looked at, forecast or refused: a refusal is an answer too.
CREATE TABLE forecast_runs (
    station_id  integer NOT NULL REFERENCES stations (device_id) ON DELETE CASCADE,
    issued_at   timestamptz NOT NULL,
    model_id    bigint,                           -- no reference: a model may be gone before its forecasts
    level_m     double precision,                 -- newest level it started from
    observed_at timestamptz,                      -- and when that was read
    basis       text NOT NULL DEFAULT '',
    basis_en    text NOT NULL DEFAULT '',
    degraded    text[] NOT NULL DEFAULT '{}',     -- series that were missing
    refused_code text,                            -- silent, flat, out_of_range, no_data
    refused     text,                             -- why there is no forecast
    refused_en  text,
    PRIMARY KEY (station_id, issued_at),
    CONSTRAINT forecast_runs_refusal_in_both CHECK ((refused IS NULL) = (refused_en IS NULL))
);
CREATE INDEX forecast_runs_by_time ON forecast_runs (issued_at);

CREATE TABLE forecasts (
    station_id  integer NOT NULL,
    issued_at   timestamptz NOT NULL,
    horizon_s   integer NOT NULL CONSTRAINT forecasts_horizon_positive CHECK (horizon_s > 0),
    q10         double precision NOT NULL,
    q50         double precision NOT NULL,
    q90         double precision NOT NULL,
    alarm_m     double precision,                 -- highest level to warn of within the horizon
    model_id    bigint,
    due_at      timestamptz NOT NULL,             -- issued_at + horizon: when it can be judged
    verified_at timestamptz,
    observed_m  double precision,                 -- what was read then; null when verified = nothing was
    PRIMARY KEY (station_id, issued_at, horizon_s),
    FOREIGN KEY (station_id, issued_at) REFERENCES forecast_runs ON DELETE CASCADE,
    -- A band whose lower edge lies above its upper one would be drawn inside out and cover nothing.
    CONSTRAINT forecasts_band_in_order CHECK (q10 <= q50 AND q50 <= q90)
);
CREATE INDEX forecasts_to_verify ON forecasts (due_at) WHERE verified_at IS NULL;

-- Sums by UTC day: the last 30 days of every station are 30 rows each, not two million.
CREATE TABLE forecast_scores (
    station_id          integer NOT NULL REFERENCES stations (device_id) ON DELETE CASCADE,
    horizon_s           integer NOT NULL,
    day                 date NOT NULL,
    judged              integer NOT NULL,
    squared_error       double precision NOT NULL,  -- m2, of q50
    squared_persistence double precision NOT NULL,  -- m2, of "it stays as it is"
    covered             integer NOT NULL,           -- observed between q10 and q90
    PRIMARY KEY (station_id, horizon_s, day)
);
CREATE INDEX forecast_scores_by_day ON forecast_scores (day);
