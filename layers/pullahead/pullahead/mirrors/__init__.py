"""Mirrors: their records, how a check judges them, and the alerts and events that follow. Pure, but for ports."""
