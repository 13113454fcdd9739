"""A simulation of checks and refreshes over hours, in minutes: the real decisions, with time and the world injected."""
