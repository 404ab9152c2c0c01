"""Real servers for the tests and the bench: PostgreSQL, TimescaleDB, mosquitto, NATS, Chromium.

Each runs as a direct child on a free loopback port, dies with the process that started it, and
leaves nothing behind. What the machine lacks is fetched where that is possible; where it is not,
`UnavailableError` says in one line what is missing and how to get it.
"""
