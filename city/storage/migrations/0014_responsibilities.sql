-- The responsibility list with effective dates: who leads from when to when, and who changed it, why, for good.

UPDATE responsibilities SET valid_to = valid_from WHERE valid_to < valid_from;  -- a clock that was set back
ALTER TABLE responsibilities
    ADD COLUMN version  integer NOT NULL DEFAULT 1,
    ADD COLUMN begun_by text NOT NULL DEFAULT 'import',  -- until now only imports wrote here
    ADD COLUMN ended_by text,
    ALTER COLUMN valid_from DROP NOT NULL,               -- null = since before anybody wrote it down
    ALTER COLUMN valid_from DROP DEFAULT,
    -- An empty period is an entry that was withdrawn before it began.
    ADD CONSTRAINT responsibilities_ends_after_begin CHECK (valid_to >= valid_from),
    ADD CONSTRAINT responsibilities_category_written CHECK (category ~ '^[a-z0-9_]+(\.[a-z0-9_]+)*$');
UPDATE responsibilities SET ended_by = 'import' WHERE valid_to IS NOT NULL;

-- A range of one text: compared by GiST without an extension, which not every server has or lets us create.
CREATE TYPE category_span AS RANGE (subtype = text, collation = "C");

-- Two lead units for one category and place at one time is a case tossed between offices.
DROP INDEX responsibilities_one_lead;
ALTER TABLE responsibilities ADD CONSTRAINT responsibilities_one_lead EXCLUDE USING gist (
    category_span(category, category, '[]') WITH =,
    int4range(coalesce(area_id, 0), coalesce(area_id, 0), '[]') WITH =,
    -- The case is for rows that a clock set back wrote: they are seen once more while this is built.
    (CASE WHEN valid_to < valid_from THEN 'empty' ELSE tstzrange(valid_from, valid_to) END) WITH &&);
CREATE INDEX responsibilities_by_category ON responsibilities (category, area_id);

-- Who acts says so in the settings city.actor, city.reason and city.incident of his transaction.
CREATE FUNCTION complete_responsibility() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    actor text := coalesce(nullif(current_setting('city.actor', true), ''), 'system');
BEGIN
    IF TG_OP = 'INSERT' THEN
        NEW.begun_by := actor;
        NEW.version := 1;
    ELSE
        -- What dispatch went by is never rewritten: it ends, and another begins.
        IF coalesce(OLD.valid_from <= now(), true) AND
           (NEW.category, NEW.area_id, NEW.unit_id, NEW.class, NEW.limit_minutes, NEW.clock, NEW.co_units, NEW.limits,
            NEW.automatic, NEW.valid_from) IS DISTINCT FROM
           (OLD.category, OLD.area_id, OLD.unit_id, OLD.class, OLD.limit_minutes, OLD.clock, OLD.co_units, OLD.limits,
            OLD.automatic, OLD.valid_from) THEN
            RAISE EXCEPTION 'responsibility % is in force and never rewritten; end it and begin another', OLD.id
                USING ERRCODE = 'restrict_violation', CONSTRAINT = 'responsibilities_never_rewritten';
        END IF;
        NEW.begun_by := OLD.begun_by;
        NEW.version := OLD.version + 1;
    END IF;
    NEW.ended_by := CASE
        WHEN NEW.valid_to IS NULL THEN NULL
        WHEN TG_OP = 'INSERT' OR NEW.valid_to IS DISTINCT FROM OLD.valid_to THEN actor
        ELSE OLD.ended_by END;
    IF EXISTS (SELECT FROM unnest(NEW.co_units) AS co WHERE NOT EXISTS (SELECT FROM units WHERE id = co)) THEN
        RAISE EXCEPTION 'a co-handler of responsibility % is no unit', NEW.id
            USING ERRCODE = 'foreign_key_violation', CONSTRAINT = 'responsibilities_co_units_known';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER responsibilities_complete BEFORE INSERT OR UPDATE ON responsibilities
    FOR EACH ROW EXECUTE FUNCTION complete_responsibility();

-- Every change of the list, whichever way it came; before and after are the rows as they were and are.
CREATE TABLE responsibility_changes (
    id                bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    responsibility_id integer NOT NULL,
    category          text NOT NULL,
    area_id           integer,
    at                timestamptz NOT NULL DEFAULT clock_timestamp(),
    actor             text NOT NULL,
    action            text NOT NULL CONSTRAINT responsibility_changes_action_known CHECK (action IN (
        'begun',                                  -- written into the list, in force from its valid_from
        'changed',                                -- before it came into force, or its end was put off
        'ended',                                  -- given an end
        'withdrawn',                              -- ended before it began
        'removed')),                              -- taken out of the table by hand; nothing here does that
    reason            text NOT NULL DEFAULT '',
    before            jsonb,
    after             jsonb,
    incident_id       bigint REFERENCES incidents (id)  -- whose dispute was ruled on
);
CREATE INDEX responsibility_changes_by_place ON responsibility_changes (category, area_id, id DESC);
CREATE TRIGGER responsibility_changes_append_only BEFORE UPDATE OR DELETE ON responsibility_changes
    FOR EACH ROW EXECUTE FUNCTION refuse_change();

CREATE FUNCTION record_responsibility() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    known responsibilities := CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
BEGIN
    INSERT INTO responsibility_changes
        (responsibility_id, category, area_id, actor, action, reason, before, after, incident_id)
    VALUES (known.id, known.category, known.area_id,
        coalesce(nullif(current_setting('city.actor', true), ''), 'system'),
        CASE
            WHEN TG_OP = 'INSERT' THEN 'begun'
            WHEN TG_OP = 'DELETE' THEN 'removed'
            WHEN NEW.valid_to = NEW.valid_from THEN 'withdrawn'
            WHEN NEW.valid_to IS NOT NULL AND (OLD.valid_to IS NULL OR NEW.valid_to < OLD.valid_to) THEN 'ended'
            ELSE 'changed' END,
        coalesce(current_setting('city.reason', true), ''),
        CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) END,
        CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) END,
        nullif(current_setting('city.incident', true), '')::bigint);
    RETURN NULL;
END $$;
CREATE TRIGGER responsibilities_record AFTER INSERT OR UPDATE OR DELETE ON responsibilities
    FOR EACH ROW EXECUTE FUNCTION record_responsibility();
