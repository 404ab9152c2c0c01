"""The root of errors that a person can act on."""


class CityError(Exception):
    """Something a person must put right: one readable line naming what, which value, and the remedy.

    The command line prints it without a traceback and leaves with exit code 2.
    """
