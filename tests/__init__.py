"""Tests; a package so that `tests.servers` can be imported by the tests and by the bench.

A run starts some hundred interpreters. Where PYTHONDONTWRITEBYTECODE is set, each would compile every package anew,
a second of work each time; so what is compiled is kept, beside pytest's own cache and not in the checkout.
"""

import os
import sys
from pathlib import Path

if sys.dont_write_bytecode:
    kept = str(Path(__file__).resolve().parent.parent / ".pytest_cache" / "compiled")
    sys.dont_write_bytecode, sys.pycache_prefix = False, kept
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = kept
