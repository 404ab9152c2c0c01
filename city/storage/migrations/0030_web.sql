-- depends: 0018_reports 0020_notifications
-- Reporters' names, telephones and mail addresses are sealed before they come here (city/sealing.py): the columns of
-- report_contacts, and the address of a notice, hold `~1.<key>.<base64>`. What stands there plainly from earlier is
-- sealed by the centre's housekeeping, some hundred rows at a time, while everything runs.

-- Which keys have sealed something here. A file with another key must not begin a second life beside the first.
CREATE TABLE data_keys (
    id      text PRIMARY KEY CONSTRAINT data_keys_id_form CHECK (id ~ '^[0-9a-f]{8}$'),
    proof   bytea NOT NULL CONSTRAINT data_keys_proof_whole CHECK (length(proof) = 32),
    made_at timestamptz NOT NULL
);

-- A number is found by its keyed digest; the number itself cannot be read here.
ALTER TABLE report_contacts ADD COLUMN phone_digest bytea
    CONSTRAINT report_contacts_phone_digest_whole CHECK (length(phone_digest) = 32);
CREATE INDEX report_contacts_by_phone_digest ON report_contacts (phone_digest) WHERE phone_digest IS NOT NULL;
DROP INDEX report_contacts_by_phone;

-- A report that is old enough loses its words and photos, not its place in the count (CITY_REPORT_DAYS).
CREATE INDEX reports_not_erased ON reports (received_at) WHERE erased_at IS NULL;
-- What timelines hold of a report, to give it out or take it away: after a split it stands on two of them.
CREATE INDEX incident_events_of_report ON incident_events ((detail ->> 'report')) WHERE detail ->> 'report' IS NOT NULL;
