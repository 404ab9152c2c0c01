-- Units, categories, responsibilities and the district belong to what a running process keeps in memory too:
-- a new list of responsibilities must reach dispatch without a restart.
CREATE TRIGGER units_insert_bumps AFTER INSERT ON units REFERENCING NEW TABLE AS changed_rows
    FOR EACH STATEMENT EXECUTE FUNCTION register_rows_changed();
CREATE TRIGGER units_update_bumps AFTER UPDATE ON units REFERENCING NEW TABLE AS changed_rows
    FOR EACH STATEMENT EXECUTE FUNCTION register_rows_changed();

CREATE TRIGGER categories_insert_bumps AFTER INSERT ON categories REFERENCING NEW TABLE AS changed_rows
    FOR EACH STATEMENT EXECUTE FUNCTION register_rows_changed();
CREATE TRIGGER categories_update_bumps AFTER UPDATE ON categories REFERENCING NEW TABLE AS changed_rows
    FOR EACH STATEMENT EXECUTE FUNCTION register_rows_changed();

CREATE TRIGGER responsibilities_insert_bumps AFTER INSERT ON responsibilities REFERENCING NEW TABLE AS changed_rows
    FOR EACH STATEMENT EXECUTE FUNCTION register_rows_changed();
CREATE TRIGGER responsibilities_update_bumps AFTER UPDATE ON responsibilities REFERENCING NEW TABLE AS changed_rows
    FOR EACH STATEMENT EXECUTE FUNCTION register_rows_changed();

CREATE TRIGGER district_insert_bumps AFTER INSERT ON district REFERENCING NEW TABLE AS changed_rows
    FOR EACH STATEMENT EXECUTE FUNCTION register_rows_changed();
CREATE TRIGGER district_update_bumps AFTER UPDATE ON district REFERENCING NEW TABLE AS changed_rows
    FOR EACH STATEMENT EXECUTE FUNCTION register_rows_changed();
