"""The root of what we expect to go wrong; the command line prints these as one line, without a traceback."""


class CityError(Exception):
    """Says what is wrong, where, and what to do about it, in one line a person can act on."""
