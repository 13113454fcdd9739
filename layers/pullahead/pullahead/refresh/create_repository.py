"""Create the repository of a refresh, with the settings of its rule.

Whoever creates repositories may set their policies, so this is apart from what reads an upstream's bytes.
"""

from pullahead.messages import RefreshRequest
from pullahead.oci.registries import Target
from pullahead.refresh.wanted import require_wanted
from pullahead.rules.model import NewlyCached, Rules, never_cached


def create_repository(
    request: RefreshRequest, rules: Rules, target: Target, newly_cached: NewlyCached = never_cached
) -> None:
    """Create a repository that a rule names, unless it exists.

    Raises: NoLongerWantedError, and as `Target.ensure_repository`.
    """
    require_wanted(request, rules, newly_cached)
    target.ensure_repository(request.repository, rules.creation_of(request.repository, request.tag))
