"""SLSA provenance as GitHub and others write it."""

from typing import Any, Final

BUILDER: Final = "https://github.com/actions/runner/github-hosted"
SOURCE: Final = "https://github.com/org/app"
SLSA_V02: Final = "https://slsa.dev/provenance/v0.2"


def slsa(builder: str = BUILDER, source: str = SOURCE) -> dict[str, Any]:
    """Write version 1, as GitHub's build type has it."""
    return {
        "buildDefinition": {
            "buildType": "https://actions.github.io/buildtypes/workflow/v1",
            "externalParameters": {"workflow": {"ref": "refs/tags/v1.2.3", "repository": source}},
            "resolvedDependencies": [{"uri": f"git+{source}@refs/tags/v1.2.3", "digest": {"gitCommit": "0" * 40}}],
        },
        "runDetails": {"builder": {"id": builder}},
    }


def slsa_v02(builder: str = BUILDER, source: str = SOURCE) -> dict[str, Any]:
    """Write version 0.2."""
    uri = f"git+{source}@refs/tags/v1.2.3"
    return {
        "builder": {"id": builder},
        "invocation": {"configSource": {"uri": uri}},
        "materials": [{"uri": uri, "digest": {"sha1": "0" * 40}}],
    }
