"""Measures copies, ours beside other tools', and says how near the goals are. Knows tools only by their commands."""
