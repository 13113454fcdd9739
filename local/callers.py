"""How the parts of the local AWS tell each other which role of a stack a request comes from."""

from typing import Final

ROLE_IN_ENVIRON: Final = "local.role"
"""The role's name, in the WSGI environment of a request; absent for other callers."""
