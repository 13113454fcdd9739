"""How the parts of the local AWS tell each other which role of a stack a request comes from, and what it says."""

from typing import Final

ROLE_IN_ENVIRON: Final = "local.role"
"""The role's name, in the WSGI environment of a request; absent for other callers."""
JSON_IN_ENVIRON: Final = "local.json"
"""What was read of a JSON body, which may have 28 MB; absent where nobody has read it yet."""
