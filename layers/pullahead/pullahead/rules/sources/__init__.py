"""What AWS itself says should be followed → rules, and one set of rules out of all sources. Pure."""
