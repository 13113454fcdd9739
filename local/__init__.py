"""The embedded AWS for one machine. Never deployed: nothing in `layers/` or `functions/` may import it."""
