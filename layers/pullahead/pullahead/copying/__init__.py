"""What to copy, in which units and parts. Pure: no clock, no network, no AWS."""
