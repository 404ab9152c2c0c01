-- depends: 0012_workflow
-- Intake (集中受理): what people and other systems report, who waits for an answer, their photos, what they say of it
-- afterwards. Personal data stand in tables of their own, so that they can be erased without touching the record.

-- ── where a position lies ─────────────────────────────────────────────────────────────────────────────
-- The box around an outline finds the few cells a point may lie in; outlines themselves are too large to read all.
CREATE FUNCTION outline_box(outline jsonb) RETURNS box LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT box(point(min((p ->> 0)::float8), min((p ->> 1)::float8)), point(max((p ->> 0)::float8), max((p ->> 1)::float8)))
    FROM jsonb_path_query(outline, CASE outline ->> 'type'
        WHEN 'Polygon' THEN 'lax $.coordinates[*][*]'::jsonpath ELSE 'lax $.coordinates[*][*][*]'::jsonpath END) AS p
    WHERE jsonb_typeof(p) = 'array'
$$;
ALTER TABLE areas ADD COLUMN outline box GENERATED ALWAYS AS (outline_box(geometry)) STORED;
CREATE INDEX areas_by_outline ON areas USING gist (outline) WHERE valid_to IS NULL;

-- ── reports ───────────────────────────────────────────────────────────────────────────────────────────
CREATE TABLE reports (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tracking        text NOT NULL CONSTRAINT reports_tracking_form CHECK (tracking ~ '^[0-9A-HJKMNP-TV-Z]{13}$'),
    tracking_digest bytea NOT NULL,               -- sha-256; looked up by it, so that an answer's time tells no prefix
    channel         text NOT NULL CONSTRAINT reports_channel_form CHECK (channel ~ '^[a-z][a-z0-9_]{1,30}$'),
    received_at     timestamptz NOT NULL,
    category        text,                         -- as reported; null = the reporter did not say
    nature          text NOT NULL CONSTRAINT reports_nature_known
        CHECK (nature IN ('complaint', 'consultation', 'suggestion', 'request', 'alarm')),
    text            text NOT NULL,                -- emptied when it is erased
    area_id         integer REFERENCES areas (id), -- its cell; null = not known
    longitude       double precision,
    latitude        double precision,
    place           text NOT NULL CONSTRAINT reports_place_known CHECK (place IN (
        'inside',                                 -- a cell of the district, by position or by code
        'outside',                                -- the position lies in none of its cells
        'unknown')),                              -- an address in words, or nothing
    address         text NOT NULL DEFAULT '',
    component       text NOT NULL DEFAULT '',     -- code of the public facility
    language        text NOT NULL DEFAULT 'zh' CONSTRAINT reports_language_known CHECK (language IN ('zh', 'en')),
    actor           text NOT NULL,                -- citizen, user:<id>, system:<code>
    external_id     text NOT NULL DEFAULT '',     -- the sender's own number
    exercise        boolean NOT NULL DEFAULT false,
    incident_id     bigint REFERENCES incidents (id), -- the one it opened or joined; null = fixed on the spot
    joined          boolean NOT NULL DEFAULT false,
    fixed_on_spot   boolean NOT NULL DEFAULT false, -- a small thing that a grid worker put right at once: counted
    reopened_at     timestamptz,                  -- once
    erased_at       timestamptz,
    version         integer NOT NULL DEFAULT 1,
    CONSTRAINT reports_tracking_digest_whole CHECK (length(tracking_digest) = 32),
    CONSTRAINT reports_has_incident CHECK ((incident_id IS NULL) = fixed_on_spot),
    CONSTRAINT reports_whole_position CHECK ((longitude IS NULL) = (latitude IS NULL)),
    CONSTRAINT reports_on_earth CHECK (longitude BETWEEN -180 AND 180 AND latitude BETWEEN -90 AND 90)
);
CREATE UNIQUE INDEX reports_one_tracking ON reports (tracking_digest);
-- A sender that tries again after a lost answer must not file the matter twice.
CREATE UNIQUE INDEX reports_one_external ON reports (actor, channel, external_id) WHERE external_id <> '';
CREATE INDEX reports_by_incident ON reports (incident_id);
CREATE INDEX reports_by_time ON reports (received_at);

-- Who reported, and how they want to be told. Erased on request, or when nobody needs it any more.
CREATE TABLE report_contacts (
    report_id bigint PRIMARY KEY REFERENCES reports (id),
    name      text NOT NULL DEFAULT '',
    phone     text NOT NULL DEFAULT '',
    email     text NOT NULL DEFAULT '',
    told_by   text NOT NULL DEFAULT 'none' CONSTRAINT report_contacts_told_by_known
        CHECK (told_by IN ('none', 'sms', 'email')),
    call_back boolean NOT NULL DEFAULT false,
    CONSTRAINT report_contacts_reachable CHECK ((told_by <> 'sms' OR phone <> '') AND (told_by <> 'email' OR email <> ''))
);
CREATE INDEX report_contacts_by_phone ON report_contacts (phone) WHERE phone <> '';

-- What the reporter added later.
CREATE TABLE report_additions (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    report_id bigint NOT NULL REFERENCES reports (id),
    at        timestamptz NOT NULL,
    actor     text NOT NULL,
    text      text NOT NULL
);
CREATE INDEX report_additions_of ON report_additions (report_id);

-- Which step a reporter was told of, and when; the address stays with the contact and the outbox.
CREATE TABLE report_notices (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    report_id bigint NOT NULL REFERENCES reports (id),
    step      text NOT NULL,
    at        timestamptz NOT NULL,
    channel   text NOT NULL
);
CREATE INDEX report_notices_of ON report_notices (report_id);

-- 评价: once for a report, changeable for a while.
CREATE TABLE report_ratings (
    report_id  bigint PRIMARY KEY REFERENCES reports (id),
    response   smallint NOT NULL CONSTRAINT report_ratings_response_known CHECK (response BETWEEN 1 AND 5),
    result     smallint NOT NULL CONSTRAINT report_ratings_result_known CHECK (result BETWEEN 1 AND 5),
    manner     smallint NOT NULL CONSTRAINT report_ratings_manner_known CHECK (manner BETWEEN 1 AND 5),
    comment    text NOT NULL DEFAULT '',
    rated_at   timestamptz NOT NULL,
    changed_at timestamptz NOT NULL,
    actor      text NOT NULL,
    CONSTRAINT report_ratings_changed_after CHECK (changed_at >= rated_at)
);

-- 回访: who called back, whether anybody answered, and what was said.
CREATE TABLE report_callbacks (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    report_id bigint NOT NULL REFERENCES reports (id),
    at        timestamptz NOT NULL,
    actor     text NOT NULL,
    reached   boolean NOT NULL,
    satisfied boolean,                            -- null = not reached, or did not say
    words     text NOT NULL DEFAULT '',
    -- Nobody is satisfied who was not spoken to.
    CONSTRAINT report_callbacks_heard CHECK (reached OR satisfied IS NULL)
);
CREATE INDEX report_callbacks_of ON report_callbacks (report_id);

-- ── photos: the files stand outside the database, under their digest ─────────────────────────────────
CREATE TABLE photos (
    digest    bytea PRIMARY KEY CONSTRAINT photos_digest_whole CHECK (length(digest) = 32), -- of what is kept
    original  bytea NOT NULL,                     -- of what was sent, before metadata were taken out
    bytes     integer NOT NULL,
    width     integer NOT NULL,
    height    integer NOT NULL,
    stored_at timestamptz NOT NULL,
    actor     text NOT NULL
);
CREATE INDEX photos_by_time ON photos (stored_at);
CREATE TABLE photo_uses (
    digest   bytea NOT NULL REFERENCES photos (digest),
    used_for text NOT NULL CONSTRAINT photo_uses_known CHECK (used_for IN ('report', 'incident', 'patrol')),
    object   bigint NOT NULL,
    PRIMARY KEY (used_for, object, digest)
);
CREATE INDEX photo_uses_of ON photo_uses (digest);

-- ── who may send how much ────────────────────────────────────────────────────────────────────────────
-- One row for each sender, in the database, so that several centres count together. full_at is when the sender's
-- allowance would be whole again; a row whose time has passed says nothing and goes.
CREATE TABLE report_rates (
    what    text NOT NULL,                        -- address, contact, guess
    sender  bytea NOT NULL,                       -- sha-256, never the address itself
    full_at timestamptz NOT NULL,
    PRIMARY KEY (what, sender)
);
CREATE INDEX report_rates_by_time ON report_rates (full_at);

-- What was turned away, by the hour and the reason.
CREATE TABLE report_refusals (
    hour    timestamptz NOT NULL,
    reason  text NOT NULL,
    counted bigint NOT NULL,
    PRIMARY KEY (hour, reason)
);

-- ── other systems that send signed reports ───────────────────────────────────────────────────────────
CREATE TABLE intake_systems (
    code         text PRIMARY KEY CONSTRAINT intake_systems_code_form CHECK (code ~ '^[a-z][a-z0-9_-]{1,30}$'),
    name         text NOT NULL,
    secret       text NOT NULL,                   -- needed to check a signature; shown once
    active       boolean NOT NULL DEFAULT true,
    created_at   timestamptz NOT NULL,
    created_by   text NOT NULL,
    last_used_at timestamptz
);
