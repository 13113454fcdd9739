"""What woke us: turns what comes from outside into messages, or says why it is ignored. Asks nobody."""
