"""Devices as black boxes: they know the wire contract and nothing of the product behind it."""
