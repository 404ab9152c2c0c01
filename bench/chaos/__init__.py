"""Everything that breaks, done to the running product under load, and an independent look at what it lost.

`python -m bench.chaos`, `make chaos`; docs/reliability.md says what is done, what must hold, and what came out.
"""
