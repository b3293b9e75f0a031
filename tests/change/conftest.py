"""No test of weight change is timed: examples that compile a loop, or share the machine, take as long as they take."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
