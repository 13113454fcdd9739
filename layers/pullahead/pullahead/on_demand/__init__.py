"""Mirrors made by the first pull: pulls noticed through CloudTrail, and what they demanded."""
