"""What a deployment into the local AWS fails with."""


class DeploymentError(Exception):
    """The local AWS cannot make what the template asks for."""
