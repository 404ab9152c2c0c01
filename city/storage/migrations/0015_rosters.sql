-- depends: 0012_workflow

-- When a unit is manned and by whom, so that dispatch does not send to an empty room; and whose nearest station goes.

-- A unit's roster as a whole: what a person edits has a version, so that a second hand is seen.
CREATE TABLE rosters (
    unit_id    integer PRIMARY KEY REFERENCES units (id),
    version    integer NOT NULL CONSTRAINT rosters_version_positive CHECK (version > 0),
    changed_at timestamptz NOT NULL,
    changed_by text NOT NULL
);

CREATE TABLE shifts (
    id      integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    unit_id integer NOT NULL REFERENCES units (id),
    name    text NOT NULL,
    -- all; working or off by the holiday calendar; or weekdays, 1 is Monday
    days    text NOT NULL DEFAULT 'all'
        CONSTRAINT shifts_days_known CHECK (days IN ('all', 'working', 'off') OR days ~ '^[1-7]{1,7}$'),
    begins  time NOT NULL,                        -- local
    ends    time NOT NULL,                        -- not after begins: on the next day
    -- Two shifts of one name could not be told apart by whoever edits them.
    CONSTRAINT shifts_one_name UNIQUE (unit_id, name)
);

CREATE TABLE roster (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    unit_id integer NOT NULL REFERENCES units (id),
    person  text NOT NULL CONSTRAINT roster_person_named CHECK (person <> ''),
    phone   text NOT NULL DEFAULT '',
    user_id integer REFERENCES users (id),        -- null = somebody who does not log in here
    begins  timestamptz NOT NULL,
    ends    timestamptz NOT NULL,                 -- not part of it
    -- Who the row is about, as a number: an exclusion over text would need an extension that a server may lack.
    who     bigint NOT NULL GENERATED ALWAYS AS (
        hashtextextended(CASE WHEN user_id IS NULL THEN person || '|' || phone ELSE 'user:' || user_id::text END, 0)
    ) STORED,
    CONSTRAINT roster_ends_after_begin CHECK (ends > begins),
    -- Nobody is on duty twice at once, in one unit or in two.
    CONSTRAINT roster_person_once EXCLUDE USING gist (
        int8range(who, who, '[]') WITH &&, tstzrange(begins, ends) WITH &&)
);
CREATE INDEX roster_of_unit ON roster (unit_id, ends);
CREATE INDEX roster_by_end ON roster (ends);
CREATE INDEX shifts_of_unit ON shifts (unit_id);

-- Categories of which the nearest sister station goes, whichever street's it is: minutes count, borders do not.
CREATE TABLE nearest_categories (
    prefix text PRIMARY KEY
);
INSERT INTO nearest_categories (prefix) VALUES ('fire');

-- What a unit works on now, counted at every batch of decisions: from this index alone, without the rows.
CREATE INDEX incidents_in_work ON incidents (unit_id)
    WHERE state IN ('dispatched', 'acknowledged', 'arrived', 'rework') AND NOT exercise;

-- Dispatch keeps all of this in memory until the register's version moves. Rosters change every day: they move a slot of
-- their own, so that ingest does not read a hundred thousand devices again for it.
CREATE FUNCTION duty_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO register_versions AS known (slot, version) VALUES (-2, 1)
        ON CONFLICT (slot) DO UPDATE SET version = known.version + 1;
    RETURN NULL;
END $$;
-- What was over long ago may be cleaned away without anybody reading anything again.
CREATE FUNCTION roster_deleted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM gone WHERE ends > now() - interval '7 days') THEN
        INSERT INTO register_versions AS known (slot, version) VALUES (-2, 1)
            ON CONFLICT (slot) DO UPDATE SET version = known.version + 1;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER shifts_bump AFTER INSERT OR UPDATE OR DELETE ON shifts
    FOR EACH STATEMENT EXECUTE FUNCTION duty_changed();
CREATE TRIGGER roster_bump AFTER INSERT OR UPDATE ON roster
    FOR EACH STATEMENT EXECUTE FUNCTION duty_changed();
CREATE TRIGGER roster_delete_bumps AFTER DELETE ON roster REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION roster_deleted();
CREATE TRIGGER nearest_categories_bump AFTER INSERT OR UPDATE OR DELETE ON nearest_categories
    FOR EACH STATEMENT EXECUTE FUNCTION duty_changed();
CREATE TRIGGER units_bump_duty AFTER UPDATE OF kind, tier, capacity, fallback, hours, longitude, latitude ON units
    FOR EACH STATEMENT EXECUTE FUNCTION duty_changed();
