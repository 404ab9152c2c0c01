"""Targets for atheris, one for each binary protocol; ``make fuzz`` runs them for a given time."""
