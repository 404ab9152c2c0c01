"""The hall all rooms share: the district's nouns, settings and memory. No loops; no network but the database."""
