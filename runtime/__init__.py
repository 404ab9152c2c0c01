"""The switchboard: starts, supervises and stops the rooms, the broker and the database."""
