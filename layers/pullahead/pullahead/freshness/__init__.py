"""How fresh mirrors are: judging, remembering, telling, and when to look. Pure: no clock, no network, no AWS."""
