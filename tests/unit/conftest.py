"""Property tests are not timed: a busy machine is no failure. What is slow is caught by pytest's own timeout."""

from hypothesis import settings

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
