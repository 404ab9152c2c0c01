"""Tests; a package so that `tests.servers` can be imported by the tests and by the bench."""
