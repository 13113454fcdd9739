"""Say who this registry is and which limits it keeps. Knows nothing of requests or state.

Limits are those of the page "Amazon ECR service quotas" and of the ECR API reference.
"""

ACCOUNT_ID = "123456789012"
REGION = "eu-west-1"

PART_SIZE_BYTES = 10 * 1024 * 1024  # what InitiateLayerUpload tells its caller to send
MIN_PART_BYTES = 5 * 1024 * 1024  # every part but the last
MAX_PARTS_PER_LAYER = 4_200
MAX_LAYER_BYTES = 52_000 * 1024 * 1024
MAX_MANIFEST_BYTES = 4_194_304
MAX_TAGS_PER_IMAGE = 1_000
MAX_RESOURCE_TAGS = 50
MAX_PAGE = 1_000
DEFAULT_PAGE = 100
AUTHORIZATION_SECONDS = 12 * 3600


def repository_arn(name: str, region: str = REGION) -> str:
    """Name a repository as IAM and events do."""
    return f"arn:aws:ecr:{region}:{ACCOUNT_ID}:repository/{name}"


def registry_host(region: str) -> str:
    """Name the host of the registry in a Region."""
    return f"{ACCOUNT_ID}.dkr.ecr.{region}.amazonaws.com"
