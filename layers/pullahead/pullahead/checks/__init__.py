"""Work through one message of the checks queue: which mirrors it names, what they serve, what follows."""
