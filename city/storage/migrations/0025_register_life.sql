-- The register knows each thing: in which part of its life it is, where it stands, and the papers that belong to it.

-- ── buildings ─────────────────────────────────────────────────────────────────────────────────────────
CREATE TABLE buildings (
    id              integer GENERATED ALWAYS AS IDENTITY UNIQUE,
    code            text PRIMARY KEY CONSTRAINT buildings_code_fits CHECK (length(code) BETWEEN 1 AND 64),
    name            text NOT NULL DEFAULT '',
    kind            text NOT NULL DEFAULT '',     -- dwelling, school, workshop, in the district's own words
    address         text NOT NULL DEFAULT '',
    cell_id         integer REFERENCES areas (id),
    longitude       double precision,
    latitude        double precision,
    outline         jsonb,                        -- GeoJSON Polygon or MultiPolygon, WGS 84
    floors          integer CONSTRAINT buildings_floors_seen CHECK (floors BETWEEN 0 AND 300),
    floors_below    integer CONSTRAINT buildings_floors_below_seen CHECK (floors_below BETWEEN 0 AND 30),
    owner_unit      text NOT NULL DEFAULT '',     -- 权属
    maintainer_unit text NOT NULL DEFAULT '',     -- 养护
    state           text NOT NULL DEFAULT 'in_use' CONSTRAINT buildings_state_known CHECK (state IN (
        'in_use',
        'under_repair',
        'out_of_use',                             -- still there
        'removed')),                              -- no longer there, or no longer listed; its code is never given again
    version         integer NOT NULL DEFAULT 1,
    edited_at       timestamptz,                  -- a person changed it after the files said it; null = as the files say
    edited_by       text,
    CONSTRAINT buildings_edited_by_somebody CHECK ((edited_at IS NULL) = (edited_by IS NULL)),
    CONSTRAINT buildings_position_whole CHECK ((longitude IS NULL) = (latitude IS NULL)),
    CONSTRAINT buildings_position_on_earth CHECK (longitude BETWEEN -180 AND 180 AND latitude BETWEEN -90 AND 90)
);
CREATE INDEX buildings_by_cell ON buildings (cell_id, code);
CREATE TRIGGER buildings_version BEFORE UPDATE ON buildings FOR EACH ROW
    WHEN (to_jsonb(OLD) - '{version,edited_at,edited_by}'::text[]
          IS DISTINCT FROM to_jsonb(NEW) - '{version,edited_at,edited_by}'::text[])
    EXECUTE FUNCTION next_version();

-- ── public facilities ─────────────────────────────────────────────────────────────────────────────────
ALTER TABLE components
    ADD COLUMN id integer GENERATED ALWAYS AS IDENTITY UNIQUE,  -- photos and papers belong to it by this
    ADD COLUMN building text REFERENCES buildings (code),
    ADD COLUMN version integer NOT NULL DEFAULT 1,
    ADD COLUMN edited_at timestamptz,
    ADD COLUMN edited_by text,
    ADD CONSTRAINT components_edited_by_somebody CHECK ((edited_at IS NULL) = (edited_by IS NULL));
CREATE TRIGGER components_version BEFORE UPDATE ON components FOR EACH ROW
    WHEN ((OLD.kind, OLD.category, OLD.name, OLD.owner_unit, OLD.maintainer_unit, OLD.cell_id, OLD.address,
           OLD.longitude, OLD.latitude, OLD.state, OLD.building)
        IS DISTINCT FROM
          (NEW.kind, NEW.category, NEW.name, NEW.owner_unit, NEW.maintainer_unit, NEW.cell_id, NEW.address,
           NEW.longitude, NEW.latitude, NEW.state, NEW.building))
    EXECUTE FUNCTION next_version();

-- ── devices ───────────────────────────────────────────────────────────────────────────────────────────
ALTER TABLE devices
    ADD COLUMN life_state text NOT NULL DEFAULT 'in_service',
    ADD COLUMN life_by text NOT NULL DEFAULT '',  -- who brought it into this state, and why
    ADD COLUMN life_reason text NOT NULL DEFAULT '',
    ADD COLUMN installed_on date,
    ADD COLUMN calibrated_on date,
    ADD COLUMN calibration_due date,
    ADD COLUMN building text REFERENCES buildings (code),
    ADD COLUMN facility text REFERENCES components (code);
UPDATE devices SET life_state = 'retired' WHERE registration = 'retired';
ALTER TABLE devices
    ADD CONSTRAINT devices_life_known CHECK (life_state IN (
        'planned',                                -- ordered, not yet there
        'installed',                              -- there, not yet taken over
        'in_service',
        'faulty',                                 -- known to be broken; its silence is no news
        'in_maintenance',                         -- somebody works on it; the same
        'retired')),
    -- Two lists that say different things of one device would each be believed by somebody.
    ADD CONSTRAINT devices_life_ends_with_registration CHECK ((life_state = 'retired') = (registration = 'retired')),
    ADD CONSTRAINT devices_due_after_calibration CHECK (calibration_due >= calibrated_on);
CREATE INDEX devices_by_building ON devices (building) WHERE building IS NOT NULL;
CREATE INDEX devices_by_facility ON devices (facility) WHERE facility IS NOT NULL;
CREATE INDEX devices_by_gateway ON devices (gateway) WHERE gateway IS NOT NULL;

-- What a device was before, with who changed it and why. Nobody writes it by hand: whoever changes a device's state
-- says so in its row.
CREATE TABLE device_life (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    device_id integer NOT NULL REFERENCES devices (id),
    at        timestamptz NOT NULL DEFAULT now(),
    was       text NOT NULL,
    state     text NOT NULL,
    by        text NOT NULL,
    reason    text NOT NULL
);
CREATE INDEX device_life_of ON device_life (device_id, id DESC);
CREATE TRIGGER device_life_append_only BEFORE UPDATE OR DELETE ON device_life
    FOR EACH ROW EXECUTE FUNCTION refuse_change();

-- Whoever retires or claims a device by its registration need not know of its life.
CREATE FUNCTION keep_life_with_registration() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.registration = 'retired' AND NEW.life_state <> 'retired' THEN
        IF TG_OP = 'UPDATE' AND OLD.registration = 'retired' THEN
            NEW.registration := 'registered';     -- its life went on
        ELSE
            NEW.life_state := 'retired';
        END IF;
    ELSIF NEW.registration <> 'retired' AND NEW.life_state = 'retired' THEN
        IF TG_OP = 'UPDATE' AND OLD.life_state = 'retired' THEN
            NEW.life_state := 'in_service';
        ELSE
            NEW.registration := 'retired';
        END IF;
    END IF;
    IF TG_OP = 'UPDATE' AND NEW.life_state IS DISTINCT FROM OLD.life_state THEN
        INSERT INTO device_life (device_id, was, state, by, reason)
        VALUES (NEW.id, OLD.life_state, NEW.life_state, NEW.life_by, NEW.life_reason);
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER devices_life_begins BEFORE INSERT ON devices FOR EACH ROW
    WHEN ((NEW.registration = 'retired') <> (NEW.life_state = 'retired'))
    EXECUTE FUNCTION keep_life_with_registration();
CREATE TRIGGER devices_life BEFORE UPDATE ON devices FOR EACH ROW
    WHEN ((OLD.registration, OLD.life_state) IS DISTINCT FROM (NEW.registration, NEW.life_state))
    EXECUTE FUNCTION keep_life_with_registration();

DROP TRIGGER devices_version ON devices;
CREATE TRIGGER devices_version BEFORE UPDATE ON devices FOR EACH ROW
    WHEN ((OLD.kind, OLD.cell_id, OLD.name, OLD.registration, OLD.model, OLD.owner_unit, OLD.maintainer_unit,
           OLD.gateway, OLD.address, OLD.longitude, OLD.latitude, OLD.expected_interval_s, OLD.tags,
           OLD.service_state, OLD.service_until, OLD.service_reason, OLD.vendor, OLD.profile, OLD.life_state,
           OLD.installed_on, OLD.calibrated_on, OLD.calibration_due, OLD.building, OLD.facility)
        IS DISTINCT FROM
          (NEW.kind, NEW.cell_id, NEW.name, NEW.registration, NEW.model, NEW.owner_unit, NEW.maintainer_unit,
           NEW.gateway, NEW.address, NEW.longitude, NEW.latitude, NEW.expected_interval_s, NEW.tags,
           NEW.service_state, NEW.service_until, NEW.service_reason, NEW.vendor, NEW.profile, NEW.life_state,
           NEW.installed_on, NEW.calibrated_on, NEW.calibration_due, NEW.building, NEW.facility))
    EXECUTE FUNCTION next_version();

-- Names and profiles decide how a sender is read, and a device's life whether its silence counts: those who hold the
-- register in memory load again.
CREATE OR REPLACE FUNCTION devices_updated() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT FROM new_rows n JOIN old_rows o ON o.id = n.id
        WHERE (n.code, n.kind, n.cell_id, n.registration, n.expected_interval_s, n.service_state, n.service_until,
               n.model, n.tags, n.gateway, n.profile, n.life_state)
            IS DISTINCT FROM
              (o.code, o.kind, o.cell_id, o.registration, o.expected_interval_s, o.service_state, o.service_until,
               o.model, o.tags, o.gateway, o.profile, o.life_state)
    ) THEN PERFORM bump_register(); END IF;
    RETURN NULL;
END $$;

-- ── photos and papers ─────────────────────────────────────────────────────────────────────────────────
ALTER TABLE photo_uses DROP CONSTRAINT photo_uses_known,
    ADD CONSTRAINT photo_uses_known CHECK (used_for IN (
        'report', 'incident', 'patrol', 'device', 'component', 'building'));

-- The file stands outside the database under its digest; here is what it is called and whose it is.
CREATE TABLE documents (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    used_for   text NOT NULL CONSTRAINT documents_use_known CHECK (used_for IN ('device', 'component', 'building')),
    object     integer NOT NULL,
    digest     bytea NOT NULL CONSTRAINT documents_digest_whole CHECK (length(digest) = 32),
    name       text NOT NULL CONSTRAINT documents_name_fits CHECK (length(name) BETWEEN 1 AND 200),
    kind       text NOT NULL,                     -- of the file, by its content: pdf, docx, xlsx, text
    bytes      integer NOT NULL,
    added_at   timestamptz NOT NULL DEFAULT now(),
    added_by   text NOT NULL,
    removed_at timestamptz,                       -- no longer shown; the file stays, since somebody may have acted on it
    removed_by text
);
CREATE UNIQUE INDEX documents_once ON documents (used_for, object, digest) WHERE removed_at IS NULL;
