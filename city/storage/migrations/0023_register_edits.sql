-- People edit the register beside the district's files. What they changed stays when the files come again, every
-- change has a version to be held against, and the ground keeps how it was drawn before.

-- ── devices ───────────────────────────────────────────────────────────────────────────────────────────
ALTER TABLE devices
    ADD COLUMN version integer NOT NULL DEFAULT 1,
    ADD COLUMN edited_at timestamptz,             -- a person changed it after the files said it; null = as the files say
    ADD COLUMN edited_by text,
    DROP CONSTRAINT devices_origin_known,
    ADD CONSTRAINT devices_origin_known CHECK (origin IN ('import', 'topic', 'person')),
    -- A mark without a name would keep a device from the files and nobody could be asked why.
    ADD CONSTRAINT devices_edited_by_somebody CHECK ((edited_at IS NULL) = (edited_by IS NULL));

-- Whatever changes an entry, a screen that read it before must not write over it.
CREATE FUNCTION next_version() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.version := OLD.version + 1;
    RETURN NEW;
END $$;
CREATE TRIGGER devices_version BEFORE UPDATE ON devices FOR EACH ROW
    WHEN ((OLD.kind, OLD.cell_id, OLD.name, OLD.registration, OLD.model, OLD.owner_unit, OLD.maintainer_unit,
           OLD.gateway, OLD.address, OLD.longitude, OLD.latitude, OLD.expected_interval_s, OLD.tags,
           OLD.service_state, OLD.service_until, OLD.service_reason)
        IS DISTINCT FROM
          (NEW.kind, NEW.cell_id, NEW.name, NEW.registration, NEW.model, NEW.owner_unit, NEW.maintainer_unit,
           NEW.gateway, NEW.address, NEW.longitude, NEW.latitude, NEW.expected_interval_s, NEW.tags,
           NEW.service_state, NEW.service_until, NEW.service_reason))
    EXECUTE FUNCTION next_version();

-- ── units ─────────────────────────────────────────────────────────────────────────────────────────────
ALTER TABLE units
    ADD COLUMN version integer NOT NULL DEFAULT 1,
    ADD COLUMN edited_at timestamptz,
    ADD COLUMN edited_by text,
    ADD CONSTRAINT units_edited_by_somebody CHECK ((edited_at IS NULL) = (edited_by IS NULL));
CREATE TRIGGER units_version BEFORE UPDATE ON units FOR EACH ROW
    WHEN (to_jsonb(OLD) - '{version,webhook_secret,edited_at,edited_by}'::text[]
          IS DISTINCT FROM to_jsonb(NEW) - '{version,webhook_secret,edited_at,edited_by}'::text[])
    EXECUTE FUNCTION next_version();

-- ── ground ────────────────────────────────────────────────────────────────────────────────────────────
-- An area keeps its row while its layer and code stay, since incidents, responsibilities and rules name it. How it
-- was drawn and named before is kept here, whoever changed it: a re-cut must not move last year's fires.
CREATE TABLE area_history (
    area_id    integer NOT NULL REFERENCES areas (id),
    valid_from timestamptz NOT NULL,
    valid_to   timestamptz NOT NULL,
    name       text NOT NULL,
    name_en    text NOT NULL,
    parent_id  integer REFERENCES areas (id),
    geometry   jsonb,
    PRIMARY KEY (area_id, valid_from),
    CONSTRAINT area_history_end_after_begin CHECK (valid_to > valid_from)
);
CREATE TRIGGER area_history_append_only BEFORE UPDATE OR DELETE ON area_history
    FOR EACH ROW EXECUTE FUNCTION refuse_change();

ALTER TABLE areas
    ADD COLUMN version integer NOT NULL DEFAULT 1,
    ADD COLUMN drawn_at timestamptz,              -- since when name, parent and outline are as they are; null = valid_from
    ADD COLUMN edited_at timestamptz,
    ADD COLUMN edited_by text,
    DROP CONSTRAINT areas_origin_known,
    ADD CONSTRAINT areas_origin_known CHECK (origin IN ('import', 'topic', 'person')),
    ADD CONSTRAINT areas_edited_by_somebody CHECK ((edited_at IS NULL) = (edited_by IS NULL));

-- Several writes of one transaction are one change: the first of them puts away what was there before.
CREATE FUNCTION keep_area_history() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF coalesce(OLD.drawn_at, OLD.valid_from) < now() THEN
        INSERT INTO area_history (area_id, valid_from, valid_to, name, name_en, parent_id, geometry)
        VALUES (OLD.id, coalesce(OLD.drawn_at, OLD.valid_from), now(), OLD.name, OLD.name_en, OLD.parent_id,
                OLD.geometry);
        NEW.drawn_at := now();
    END IF;
    NEW.version := OLD.version + 1;
    RETURN NEW;
END $$;
CREATE TRIGGER areas_history BEFORE UPDATE ON areas FOR EACH ROW
    WHEN ((OLD.name, OLD.name_en, OLD.parent_id, OLD.geometry)
        IS DISTINCT FROM (NEW.name, NEW.name_en, NEW.parent_id, NEW.geometry))
    EXECUTE FUNCTION keep_area_history();

-- The history of one device, area or unit is read from what everybody who changes something writes down.
CREATE INDEX audit_by_object ON audit (object, id DESC);
