"""Observations become alarms here: arithmetic over batches, without input, output or a clock."""
