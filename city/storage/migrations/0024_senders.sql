-- Foreign senders: devices that speak their own maker's language are known by the name they have there.

-- A device may be heard under several names (a detector that moved from one LoRaWAN network to another); a name means
-- one device, else a reading would belong to whoever was looked up first.
CREATE TABLE device_names (
    family    text NOT NULL CONSTRAINT device_names_family_word CHECK (family ~ '^[a-z0-9_]{1,32}$'),
    name      text NOT NULL CONSTRAINT device_names_not_empty CHECK (name <> ''),
    device_id integer NOT NULL REFERENCES devices (id) ON DELETE CASCADE,
    PRIMARY KEY (family, name)
);
CREATE INDEX device_names_by_device ON device_names (device_id);

-- The district's own descriptions of models (profiles/*.toml), as they were written; the built-in ones come with the
-- product. Read by ingest, which knows what they mean.
CREATE TABLE profile_files (
    name    text PRIMARY KEY,                     -- of the file, below profiles/
    content text NOT NULL
);

ALTER TABLE devices
    ADD COLUMN vendor text NOT NULL DEFAULT '',
    ADD COLUMN profile text;                      -- code of its profile; null = chosen by family, model and what it reports

CREATE TRIGGER device_names_delete_bumps AFTER DELETE ON device_names REFERENCING OLD TABLE AS changed_rows
    FOR EACH STATEMENT EXECUTE FUNCTION register_rows_changed();
CREATE TRIGGER device_names_update_bumps AFTER UPDATE ON device_names REFERENCING NEW TABLE AS changed_rows
    FOR EACH STATEMENT EXECUTE FUNCTION register_rows_changed();
CREATE TRIGGER profile_files_insert_bumps AFTER INSERT ON profile_files REFERENCING NEW TABLE AS changed_rows
    FOR EACH STATEMENT EXECUTE FUNCTION register_rows_changed();
CREATE TRIGGER profile_files_update_bumps AFTER UPDATE ON profile_files REFERENCING NEW TABLE AS changed_rows
    FOR EACH STATEMENT EXECUTE FUNCTION register_rows_changed();
CREATE TRIGGER profile_files_delete_bumps AFTER DELETE ON profile_files REFERENCING OLD TABLE AS changed_rows
    FOR EACH STATEMENT EXECUTE FUNCTION register_rows_changed();
