"""The hub: the district's state from the database, merged, numbered and sent to every screen.

``follow`` says which change rows are new, ``state`` turns rows into what screens show, ``log`` numbers and
merges, ``hub`` loads and ticks, ``sender`` serves one screen. docs/screen-protocol.md is the contract.
"""
