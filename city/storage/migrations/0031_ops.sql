-- The audit: who saw and did what, only ever appended, each row chained to the one before it by a hash.
-- Writers insert without waiting for one another; one loop of the centre seals what is committed a moment later
-- (city.audit_chain has what is hashed). What may name a person enters the chain as a salted digest, so that it can
-- be erased and the chain still proves.
ALTER TABLE audit
    ADD COLUMN request   text NOT NULL DEFAULT '',  -- X-Request-Id of the call that did it; empty = no call
    ADD COLUMN seq       bigint,                    -- place in the chain, from 1 without gaps; NULL = not sealed yet
    ADD COLUMN salt      bytea,                     -- of the digest; NULL before sealing and after erasing
    ADD COLUMN said      bytea,                     -- salted digest of object, reason and detail
    ADD COLUMN hash      bytea,                     -- over the hash before, and this row
    ADD COLUMN erased_at timestamptz,               -- object, reason and detail were erased then
    ADD CONSTRAINT audit_sealed_whole CHECK (num_nulls(seq, said, hash) IN (0, 3)),
    ADD CONSTRAINT audit_salted CHECK ((salt IS NULL) = (seq IS NULL OR erased_at IS NOT NULL));
CREATE UNIQUE INDEX audit_by_seq ON audit (seq) WHERE seq IS NOT NULL;
CREATE INDEX audit_unsealed ON audit (id) WHERE seq IS NULL;
CREATE INDEX audit_by_actor ON audit (actor, id DESC);
CREATE INDEX audit_by_time ON audit (at);

-- Two changes are possible, each once: sealing a row, and erasing what a sealed row says.
CREATE FUNCTION keep_audit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND (NEW.id, NEW.at, NEW.actor, NEW.action, NEW.request)
            IS NOT DISTINCT FROM (OLD.id, OLD.at, OLD.actor, OLD.action, OLD.request) THEN
        IF OLD.seq IS NULL AND NEW.seq IS NOT NULL AND NEW.erased_at IS NULL
                AND (NEW.object, NEW.reason, NEW.detail) IS NOT DISTINCT FROM (OLD.object, OLD.reason, OLD.detail) THEN
            RETURN NEW;
        END IF;
        IF OLD.seq IS NOT NULL AND OLD.erased_at IS NULL AND NEW.erased_at IS NOT NULL
                AND (NEW.seq, NEW.said, NEW.hash) IS NOT DISTINCT FROM (OLD.seq, OLD.said, OLD.hash)
                AND (NEW.object, NEW.reason, NEW.detail) = ('', '', '{}'::jsonb) THEN
            RETURN NEW;
        END IF;
    END IF;
    RAISE EXCEPTION 'rows of audit are only ever appended' USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE ON audit FOR EACH ROW EXECUTE FUNCTION keep_audit();
CREATE TRIGGER audit_never_emptied BEFORE TRUNCATE ON audit FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- Where the chain ends; the row's lock lets one centre seal at a time. It tells a chain that was cut at its end.
CREATE TABLE audit_head (
    one  boolean PRIMARY KEY DEFAULT true CONSTRAINT audit_head_one CHECK (one),
    seq  bigint NOT NULL DEFAULT 0,
    hash bytea NOT NULL DEFAULT decode(repeat('00', 32), 'hex')
);
INSERT INTO audit_head DEFAULT VALUES;
CREATE FUNCTION keep_audit_head() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND NEW.seq > OLD.seq THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'the end of the audit only moves on' USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER audit_head_moves_on BEFORE UPDATE OR DELETE ON audit_head
    FOR EACH ROW EXECUTE FUNCTION keep_audit_head();
