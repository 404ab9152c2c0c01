"""Bytes become committed observations here; only then does a sender's message count as received."""
