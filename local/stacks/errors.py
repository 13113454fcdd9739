"""What CloudFormation refuses a request, or stops a deployment, with."""


class StackError(Exception):
    """A template, a parameter or a resource is not as CloudFormation takes it: ValidationError, in its API."""


class RefusedError(Exception):
    """A request is refused with another code than ValidationError."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
