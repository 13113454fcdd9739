"""A chaos run: the deployed stack on the local AWS, while everything around it goes wrong. `make chaos` runs it."""
