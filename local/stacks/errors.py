"""What CloudFormation refuses a request, or stops a deployment, with."""


class StackError(Exception):
    """A template, a parameter or a resource is not as CloudFormation takes it."""
