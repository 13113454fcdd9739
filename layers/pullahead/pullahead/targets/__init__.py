"""Registries that we write, behind one port (`pullahead.ports.Target`)."""
