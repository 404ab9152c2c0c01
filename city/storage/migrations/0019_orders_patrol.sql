-- depends: 0018_reports
-- Work that does not come from a sensor: requests by Open311, orders that a community gives, patrols of grid workers.

-- ── Open311 ───────────────────────────────────────────────────────────────────────────────────────────
-- Who may file requests. Only the digest is kept: whoever reads the database cannot file in another's name.
CREATE TABLE api_keys (
    id         integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name       text NOT NULL UNIQUE CONSTRAINT api_keys_named CHECK (name <> ''),
    digest     bytea NOT NULL UNIQUE CONSTRAINT api_keys_digest_is_sha256 CHECK (octet_length(digest) = 32),
    created_at timestamptz NOT NULL,
    created_by text NOT NULL,
    revoked_at timestamptz,
    revoked_by text,
    CONSTRAINT api_keys_revoked_by_somebody CHECK ((revoked_at IS NULL) = (revoked_by IS NULL))
);

-- What the protocol knows of a report beside the report itself, which holds text, place and time and can be erased.
CREATE TABLE open311_requests (
    id           text PRIMARY KEY CONSTRAINT open311_requests_id_form CHECK (id ~ '^[0-9]{12}$'), -- service_request_id:
                                                  -- everybody sees it, so it is not the tracking number, which rates
    report_id    bigint NOT NULL UNIQUE REFERENCES reports (id),
    api_key_id   integer NOT NULL REFERENCES api_keys (id),
    service_code text NOT NULL,
    address_id   text NOT NULL DEFAULT '',
    media_url    text NOT NULL DEFAULT ''
        -- Shown as a link: anything but the web would run in the reader's browser.
        CONSTRAINT open311_requests_media_is_web CHECK (media_url = '' OR media_url ~ '^https?://'),
    requested_at timestamptz NOT NULL
);
CREATE INDEX open311_requests_newest ON open311_requests (requested_at DESC, id);
CREATE INDEX open311_requests_of_key ON open311_requests (api_key_id, requested_at);

-- ── orders from below (基层发令) ──────────────────────────────────────────────────────────────────────
-- What happens to an order is told on its incident's timeline; here stands only where it is now.
CREATE TABLE site_orders (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    incident_id bigint NOT NULL REFERENCES incidents (id),
    unit_id     integer REFERENCES units (id),    -- the community that orders; null = the centre for it
    ordered_by  text NOT NULL,
    ordered_at  timestamptz NOT NULL,
    arrive_by   timestamptz NOT NULL,
    what        text NOT NULL CONSTRAINT site_orders_say_what CHECK (what <> ''),
    area_id     integer REFERENCES areas (id),
    place       text NOT NULL DEFAULT '',
    longitude   double precision,
    latitude    double precision,
    code        text NOT NULL CONSTRAINT site_orders_code_six_digits CHECK (code ~ '^[0-9]{6}$'),
    version     integer NOT NULL DEFAULT 1,
    ended_at    timestamptz,
    ended_by    text,
    outcome     text NOT NULL DEFAULT '',         -- the record it ends with
    CONSTRAINT site_orders_deadline_after_start CHECK (arrive_by > ordered_at),
    CONSTRAINT site_orders_position_whole CHECK ((longitude IS NULL) = (latitude IS NULL)),
    -- A unit that is sent nowhere cannot arrive.
    CONSTRAINT site_orders_somewhere CHECK (area_id IS NOT NULL OR longitude IS NOT NULL),
    CONSTRAINT site_orders_ended_by_somebody CHECK ((ended_at IS NULL) = (ended_by IS NULL))
);
CREATE INDEX site_orders_of_incident ON site_orders (incident_id);
CREATE INDEX site_orders_open ON site_orders (arrive_by) WHERE ended_at IS NULL;

CREATE TABLE site_order_units (
    order_id        bigint NOT NULL REFERENCES site_orders (id),
    unit_id         integer NOT NULL REFERENCES units (id),
    acknowledged_at timestamptz,
    declined_at     timestamptz,                  -- a refusal with its reason; the order stands until it is released
    released_at     timestamptz,                  -- whoever ordered does without it
    arrived_at      timestamptz,
    arrived_by      text,
    arrived_how     text CONSTRAINT site_order_units_how_known CHECK (arrived_how IN ('position', 'code', 'word')),
    distance_m      integer CONSTRAINT site_order_units_distance_positive CHECK (distance_m >= 0),
    tries           integer NOT NULL DEFAULT 0,   -- wrong codes since the last right one
    paused_until    timestamptz,
    said            smallint NOT NULL DEFAULT 0,  -- steps of the ladder that were told
    next_at         timestamptz,                  -- the next step; null = never
    PRIMARY KEY (order_id, unit_id),
    CONSTRAINT site_order_units_arrived_somehow CHECK (
        (arrived_at IS NULL) = (arrived_how IS NULL) AND (arrived_at IS NULL) = (arrived_by IS NULL)),
    -- Urging whoever stands there already teaches people not to listen.
    CONSTRAINT site_order_units_silent_when_over CHECK (
        next_at IS NULL OR (arrived_at IS NULL AND released_at IS NULL))
);
CREATE INDEX site_order_units_due ON site_order_units (next_at) WHERE next_at IS NOT NULL;
CREATE INDEX site_order_units_of_unit ON site_order_units (unit_id, order_id);

-- ── patrol (巡查) ─────────────────────────────────────────────────────────────────────────────────────
CREATE TABLE patrol_routes (
    id          integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    code        text NOT NULL UNIQUE CONSTRAINT patrol_routes_code_plain CHECK (code ~ '^[A-Za-z0-9._-]{1,60}$'),
    name        text NOT NULL CONSTRAINT patrol_routes_named CHECK (name <> ''),
    name_en     text NOT NULL DEFAULT '',
    assigned_to integer REFERENCES users (id),    -- null = whoever is a grid worker
    active      boolean NOT NULL DEFAULT true,
    version     integer NOT NULL DEFAULT 1,
    changed_at  timestamptz NOT NULL,
    changed_by  text NOT NULL
);
CREATE INDEX patrol_routes_of_person ON patrol_routes (assigned_to) WHERE active;

CREATE TABLE patrol_points (
    id         integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    route_id   integer NOT NULL REFERENCES patrol_routes (id),
    code       text NOT NULL CONSTRAINT patrol_points_code_plain CHECK (code ~ '^[A-Za-z0-9._-]{1,60}$'),
    place      smallint NOT NULL,                 -- its number in the order of walking
    name       text NOT NULL CONSTRAINT patrol_points_named CHECK (name <> ''),
    area_id    integer REFERENCES areas (id),
    building   text NOT NULL DEFAULT '',
    longitude  double precision,
    latitude   double precision,
    checklist  text NOT NULL,                     -- of checklists.toml
    cadence    text NOT NULL CONSTRAINT patrol_points_cadence_known CHECK (cadence IN ('daily', 'weekly', 'monthly')),
    since      timestamptz NOT NULL,              -- nothing is owed from before
    removed_at timestamptz,                       -- what was checked stays
    UNIQUE (route_id, code),
    CONSTRAINT patrol_points_position_whole CHECK ((longitude IS NULL) = (latitude IS NULL))
);

CREATE TABLE patrol_checks (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    client_id   uuid NOT NULL UNIQUE,             -- a phone without signal sends again: the same check is one check
    digest      bytea NOT NULL,                   -- of what was sent, to tell a repetition from a mistake
    point_id    integer NOT NULL REFERENCES patrol_points (id),
    actor       text NOT NULL,
    observed_at timestamptz NOT NULL,             -- when somebody stood there
    received_at timestamptz NOT NULL,
    longitude   double precision,
    latitude    double precision,
    distance_m  integer CONSTRAINT patrol_checks_distance_positive CHECK (distance_m >= 0),
    note        text NOT NULL DEFAULT '',
    CONSTRAINT patrol_checks_position_whole CHECK ((longitude IS NULL) = (latitude IS NULL)),
    CONSTRAINT patrol_checks_not_from_tomorrow CHECK (observed_at <= received_at + interval '5 minutes')
);
CREATE INDEX patrol_checks_of_point ON patrol_checks (point_id, observed_at DESC);
CREATE INDEX patrol_checks_in_time ON patrol_checks (observed_at);

CREATE TABLE patrol_answers (
    check_id  bigint NOT NULL REFERENCES patrol_checks (id),
    item      text NOT NULL,
    answer    text NOT NULL CONSTRAINT patrol_answers_answer_known CHECK (answer IN ('ok', 'problem', 'not_applicable')),
    note      text NOT NULL DEFAULT '',
    photos    text[] NOT NULL DEFAULT '{}',
    fixed     boolean NOT NULL DEFAULT false,     -- found and put right on the spot: no incident
    report_id bigint REFERENCES reports (id),
    PRIMARY KEY (check_id, item),
    -- A problem that is neither put right nor reported would be known to nobody.
    CONSTRAINT patrol_answers_problem_goes_somewhere CHECK (
        (answer = 'problem') = (fixed OR report_id IS NOT NULL)),
    CONSTRAINT patrol_answers_fixed_or_reported CHECK (NOT (fixed AND report_id IS NOT NULL))
);
CREATE INDEX patrol_answers_problems ON patrol_answers (check_id) WHERE answer = 'problem';
CREATE INDEX patrol_answers_of_report ON patrol_answers (report_id) WHERE report_id IS NOT NULL;
