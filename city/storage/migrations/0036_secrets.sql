-- depends: 0018_reports 0020_notifications 0034_accounts 0035_reach
-- Secrets are sealed before they come here, and first secrets run out.

-- What is written from now on is `~1.<key>.<base64>` (city/storage/shared_secrets.py); what stands here plainly from
-- earlier is sealed by the centre's housekeeping in its first hour, and whenever `city keys rotate` runs.
COMMENT ON COLUMN units.webhook_secret IS 'sealed; empty until a webhook is first signed';
COMMENT ON COLUMN contacts.secret IS 'sealed; empty until a webhook is first signed';
COMMENT ON COLUMN intake_systems.secret IS 'sealed; HMAC needs the secret itself, a hash does not serve';

-- The hour at which a one-time secret is worth nothing any more, while it is not used. A table of its own: a process
-- of the release before reads every column of `users`. Those that wait now get three
-- days from now.
CREATE TABLE first_secrets (
    user_id integer PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    ends_at timestamptz NOT NULL
);
INSERT INTO first_secrets (user_id, ends_at) SELECT id, now() + interval '72 hours' FROM users WHERE must_change;
-- How people come in is nobody's within an area (0035_reach.sql).
REVOKE ALL ON first_secrets FROM city_within;

-- Tracking numbers have 80 bits; those of 60 that people keep stay as they are.
ALTER TABLE reports DROP CONSTRAINT reports_tracking_form,
    ADD CONSTRAINT reports_tracking_form CHECK (tracking ~ '^[0-9A-HJKMNP-TV-Z]{13}([0-9A-HJKMNP-TV-Z]{4})?$') NOT VALID;
ALTER TABLE reports VALIDATE CONSTRAINT reports_tracking_form;
