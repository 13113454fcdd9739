"""Alerts: when people are notified, the texts, and the review of all records."""
