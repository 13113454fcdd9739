"""The ports of the core in memory: strict where the world is strict, scripted where it fails."""
