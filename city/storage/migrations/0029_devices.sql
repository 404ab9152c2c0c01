-- Credentials of devices and gateways at the broker: one secret each, only its hash here, and what it may speak of.

-- An account at the broker. It belongs to one device of the register; what it may publish follows from the register
-- (city.device_topics) and from the two lists here. The broker's password and access files are written from this table.
CREATE TABLE device_credentials (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    device_id     integer NOT NULL REFERENCES devices (id) ON DELETE CASCADE,
    -- The user name. A colon would end it in the broker's password file, a wildcard widen its rights.
    account       text NOT NULL CONSTRAINT device_credentials_account_plain
                  CHECK (account !~ '[[:space:][:cntrl:]:+#/%$]' AND length(account) BETWEEN 1 AND 120),
    slot          smallint NOT NULL CONSTRAINT device_credentials_two_slots CHECK (slot IN (1, 2)),
    -- mosquitto's form of PBKDF2 with SHA-512; null = a client certificate only. Never a plain secret.
    secret_hash   text CONSTRAINT device_credentials_hashed
                  CHECK (secret_hash ~ '^\$7\$[0-9]{1,7}\$[A-Za-z0-9+/]{16}\$[A-Za-z0-9+/]{86}==$'),
    families      text[] NOT NULL DEFAULT '{}',   -- whole families of foreign senders it speaks for (a bridge, a network)
    topics        text[] NOT NULL DEFAULT '{}',   -- further filters a person granted
    made_at       timestamptz NOT NULL DEFAULT now(),
    made_by       text NOT NULL,
    reason        text NOT NULL DEFAULT '',
    ends_at       timestamptz,                    -- the old one of a rotation ends by itself; null = until revoked
    ended_at      timestamptz,                    -- revoked or run out; null = the broker lets it in
    ended_by      text,
    last_login_at timestamptz,                    -- as the broker's log said
    last_address  text,
    CONSTRAINT device_credentials_end_has_author CHECK ((ended_at IS NULL) = (ended_by IS NULL))
);
-- Two that are good at once have two user names (the broker knows one secret for each), so nobody has a third.
CREATE UNIQUE INDEX device_credentials_one_in_slot ON device_credentials (device_id, slot) WHERE ended_at IS NULL;
CREATE UNIQUE INDEX device_credentials_one_account ON device_credentials (account) WHERE ended_at IS NULL;
CREATE INDEX device_credentials_by_account ON device_credentials (account);
CREATE INDEX device_credentials_of_device ON device_credentials (device_id, id DESC);
CREATE INDEX device_credentials_ending ON device_credentials (ends_at) WHERE ended_at IS NULL AND ends_at IS NOT NULL;

-- Grows when the broker's files have to be written anew; a log-in does not count.
CREATE TABLE device_credentials_version (
    only_one boolean PRIMARY KEY DEFAULT true CONSTRAINT device_credentials_version_only_one CHECK (only_one),
    version  bigint NOT NULL
);
INSERT INTO device_credentials_version (version) VALUES (0);
CREATE FUNCTION device_credentials_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE device_credentials_version SET version = version + 1;
    RETURN NULL;
END $$;
CREATE TRIGGER device_credentials_bump
    AFTER INSERT OR DELETE OR UPDATE OF account, secret_hash, families, topics, ends_at, ended_at ON device_credentials
    FOR EACH STATEMENT EXECUTE FUNCTION device_credentials_changed();

-- Who still logs in with an account that many share, as the broker's log said: what has to get a credential of its own.
CREATE TABLE shared_logins (
    account   text NOT NULL,
    client_id text NOT NULL,
    address   text NOT NULL,
    first_at  timestamptz NOT NULL,
    last_at   timestamptz NOT NULL,
    times     bigint NOT NULL DEFAULT 1,
    PRIMARY KEY (account, client_id)
);
CREATE INDEX shared_logins_by_time ON shared_logins (last_at DESC);

-- Log-ins that the broker refused, by hour; it does not say of whom.
CREATE TABLE refused_logins (
    hour  timestamptz PRIMARY KEY,
    times bigint NOT NULL
);
