"""The hall all rooms share: the district's nouns, its settings and its memory. No loops; no network but the database."""
