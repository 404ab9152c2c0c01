-- What triage, clocks and the outbox remember beside the first schema.

ALTER TABLE categories ADD COLUMN join_minutes integer            -- a further alarm joins for so long; null = 30
    CONSTRAINT categories_join_not_negative CHECK (join_minutes >= 0);

ALTER TABLE incidents
    ADD COLUMN base_class text NOT NULL DEFAULT 'C'               -- most urgent of dispatch and alarms, before several
        CONSTRAINT incidents_base_class_known CHECK (base_class IN ('A', 'B', 'C')), -- detectors together raise it
    ADD COLUMN told_at timestamptz,                               -- its unit was last told: told again at most every 2 min
    ADD COLUMN awaiting_since timestamptz,                        -- since when somebody should have acknowledged
    ADD COLUMN urged_level integer NOT NULL DEFAULT 0,            -- 1 = the unit's lead, 2 = the unit above
    ADD COLUMN overdue_at timestamptz,                            -- the event "overdue" was written
    -- Head of the chain: without it, cutting off the last events would go unseen.
    ADD COLUMN last_seq integer NOT NULL DEFAULT 0,
    ADD COLUMN head bytea NOT NULL DEFAULT '\x0000000000000000000000000000000000000000000000000000000000000000';

-- What people typed: may name persons, so it can be erased; the chain holds only its salted digest.
CREATE TABLE incident_texts (
    incident_id bigint NOT NULL,
    seq         integer NOT NULL,
    salt        bytea NOT NULL,
    text        text NOT NULL,
    PRIMARY KEY (incident_id, seq),
    FOREIGN KEY (incident_id, seq) REFERENCES incident_events (incident_id, seq)
);

ALTER TABLE notifications
    -- Sent with every attempt: a receiver that saw the order before a crash can tell that it is the same.
    ADD COLUMN key uuid NOT NULL DEFAULT gen_random_uuid(),
    ADD COLUMN to_lead boolean NOT NULL DEFAULT false,
    ADD COLUMN last_error text;
CREATE INDEX notifications_by_incident ON notifications (incident_id);

-- The directory of dispatch is read once and again when the register's version moves; these tables count too.
CREATE FUNCTION directory_changed() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN PERFORM bump_register(); RETURN NULL; END $$;
CREATE TRIGGER units_bump AFTER INSERT OR UPDATE OF code, name, name_en, parent, lead, phone, lead_phone, email,
    lead_email, webhook_url, active OR DELETE ON units
    FOR EACH STATEMENT EXECUTE FUNCTION directory_changed();
CREATE TRIGGER categories_bump AFTER INSERT OR UPDATE OR DELETE ON categories
    FOR EACH STATEMENT EXECUTE FUNCTION directory_changed();
CREATE TRIGGER responsibilities_bump AFTER INSERT OR UPDATE OR DELETE ON responsibilities
    FOR EACH STATEMENT EXECUTE FUNCTION directory_changed();
