"""The bench: what the product stands, beside what the broker and a stock client stand in the same run.

A black box to the product: it speaks MQTT and WebSocket, reads the database with plain SQL, and
/proc for costs.
"""
