"""Alarms become incidents, incidents become orders to a unit, and people watch them end."""
