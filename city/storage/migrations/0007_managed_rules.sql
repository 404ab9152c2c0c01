-- Rules as people manage them: every change is a new version with author and reason; what is in force moves between
-- versions, and each move is written down for good.

ALTER TABLE rules
    ADD COLUMN reason text NOT NULL DEFAULT '',      -- why this version was written
    ADD COLUMN based_on integer,                     -- the version it was edited from; null = the first, or a file's
    ADD COLUMN digest text NOT NULL DEFAULT '',      -- sha-256 of the definition: two versions that say the same
    ADD COLUMN activated_at timestamptz,             -- last time it came into force; null = never
    -- draft: written, never in force. active: what ingest decides by. retired: was in force; a rollback brings it back.
    ADD COLUMN state text GENERATED ALWAYS AS (
        CASE WHEN active THEN 'active' WHEN activated_at IS NULL THEN 'draft' ELSE 'retired' END) STORED,
    -- Edited from a version that came after it: the diff shown to whoever approves it would be of something else.
    ADD CONSTRAINT rules_based_on_earlier CHECK (based_on < version);

UPDATE rules SET activated_at = created_at, digest = encode(sha256(convert_to(definition::text, 'UTF8')), 'hex');

CREATE INDEX rules_latest ON rules (id, version DESC);

-- The digest is made here, so that it can never be of another definition; the same for the time of activation.
CREATE FUNCTION complete_rule() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.digest := encode(sha256(convert_to(NEW.definition::text, 'UTF8')), 'hex');
    IF NEW.active AND (TG_OP = 'INSERT' OR NOT OLD.active) THEN
        NEW.activated_at := clock_timestamp();
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER rules_complete BEFORE INSERT OR UPDATE ON rules FOR EACH ROW EXECUTE FUNCTION complete_rule();

-- An alarm names the version that raised it: rewriting a version would make its alarms lie.
CREATE FUNCTION refuse_rewriting_rule() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'version % of rule % is never rewritten; write a new version', OLD.version, OLD.id
        USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER rules_never_rewritten BEFORE UPDATE ON rules FOR EACH ROW
    WHEN ((NEW.id, NEW.version, NEW.definition, NEW.created_at, NEW.created_by, NEW.reason, NEW.based_on)
        IS DISTINCT FROM
          (OLD.id, OLD.version, OLD.definition, OLD.created_at, OLD.created_by, OLD.reason, OLD.based_on))
    EXECUTE FUNCTION refuse_rewriting_rule();

-- What came into force and what ceased to be, by whom and why. An import of the district's files counts as 'import'.
CREATE TABLE rule_history (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    rule_id      text NOT NULL,
    at           timestamptz NOT NULL DEFAULT clock_timestamp(),
    action       text NOT NULL CONSTRAINT rule_history_action_known CHECK (action IN (
        'activate',                               -- to_version came into force
        'rollback',                               -- the same, and it had been in force before
        'retire')),                               -- nothing is in force any more
    actor        text NOT NULL,
    reason       text NOT NULL DEFAULT '',
    from_version integer,                         -- null = nothing was in force
    to_version   integer,                         -- null = nothing is in force
    CONSTRAINT rule_history_says_what CHECK ((action = 'retire') = (to_version IS NULL))
);
CREATE INDEX rule_history_by_rule ON rule_history (rule_id, id DESC);
CREATE TRIGGER rule_history_append_only BEFORE UPDATE OR DELETE ON rule_history
    FOR EACH ROW EXECUTE FUNCTION refuse_change();

INSERT INTO rule_history (rule_id, at, action, actor, reason, to_version)
    SELECT id, created_at, 'activate', created_by, source, version FROM rules WHERE active;

-- Only what is in force concerns a running process: a draft must not make it read anything again. Rules count in a
-- slot of their own: who keeps the register and asks for rules apart (ingest) need not read a hundred thousand
-- devices again because a limit moved.
CREATE FUNCTION rules_moved() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM changed_rows WHERE active OR activated_at IS NOT NULL) THEN
        INSERT INTO register_versions AS known (slot, version) VALUES (-1, 1)
            ON CONFLICT (slot) DO UPDATE SET version = known.version + 1;
    END IF;
    RETURN NULL;
END $$;
DROP TRIGGER rules_insert_bumps ON rules;
DROP TRIGGER rules_update_bumps ON rules;
DROP TRIGGER rules_delete_bumps ON rules;
CREATE TRIGGER rules_insert_bumps AFTER INSERT ON rules REFERENCING NEW TABLE AS changed_rows
    FOR EACH STATEMENT EXECUTE FUNCTION rules_moved();
CREATE TRIGGER rules_update_bumps AFTER UPDATE ON rules REFERENCING NEW TABLE AS changed_rows
    FOR EACH STATEMENT EXECUTE FUNCTION rules_moved();
CREATE TRIGGER rules_delete_bumps AFTER DELETE ON rules REFERENCING OLD TABLE AS changed_rows
    FOR EACH STATEMENT EXECUTE FUNCTION rules_moved();
