"""Rules from sources in AWS and from a file elsewhere, and one set of rules from all sources."""
