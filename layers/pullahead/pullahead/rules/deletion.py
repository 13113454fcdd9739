"""What becomes of a tag that somebody deletes from ECR. Pure data."""

from enum import StrEnum


class WhenDeleted(StrEnum):
    """Whether it is restored at once, or left deleted until upstream moves."""

    RESTORE = "restore"
    LEAVE = "leave"
