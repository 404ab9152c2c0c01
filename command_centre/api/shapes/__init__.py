"""What routes answer, as OpenAPI and the screens' types know it; times are RFC 3339 with offset.

Routes name these in ``responses=gives(...)``; ``answer`` writes what storage gives it. So that the two cannot part, the
integration tests hold every real answer against the shape its route names (tests/integration/conftest.py).
"""
