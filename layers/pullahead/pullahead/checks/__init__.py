"""Checks: the messages of the checks queue, the mirrors that they name, and what follows from comparing them."""
