"""The identities of mirrors and of rules. Their text form is for the edges: stored items, JSON, messages to people.

They are neither dataclasses nor tuples, which a JSON encoder would write as objects or lists: it refuses these instead,
so that whoever writes one says `str(key)`.
"""

_ANY_TAG = "*"
"""No tag contains it (OCI distribution specification, "Pulling manifests"), so no mirror has the text of a rule."""


class Subject:
    """What an alert can be about. Its text is unique."""

    __slots__ = ()


class RecordKey(Subject):
    """What a record can be about: a mirror or a rule, in one target repository. Immutable, hashable, ordered."""

    __slots__ = ("_name", "repository")
    repository: str
    _name: str

    def __init__(self, repository: str, name: str) -> None:
        object.__setattr__(self, "repository", repository)
        object.__setattr__(self, "_name", name)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable")

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, RecordKey)
            and type(self) is type(other)
            and (self.repository, self._name) == (other.repository, other._name)
        )

    def __lt__(self, other: "RecordKey") -> bool:
        return (self.repository, self._name) < (other.repository, other._name)

    def __hash__(self) -> int:
        return hash((self.repository, self._name))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.repository!r}, {self._name!r})"


class MirrorKey(RecordKey):
    """Identifies a mirror by the ECR repository and tag that it publishes. Text: `REPOSITORY:TAG`."""

    __slots__ = ()

    def __init__(self, repository: str, tag: str) -> None:
        super().__init__(repository, tag)

    @property
    def tag(self) -> str:
        """The tag that the mirror publishes."""
        return self._name

    def __str__(self) -> str:
        return f"{self.repository}:{self.tag}"

    @classmethod
    def parse(cls, text: str) -> "MirrorKey":
        """Read the text form. Raises ValueError for any other text."""
        repository, _, tag = text.rpartition(":")
        if not repository or not tag:
            raise ValueError(f"{text!r} is not of the form REPOSITORY:TAG")
        return cls(repository, tag)


class RuleKey(RecordKey):
    """Identifies a rule, as it is for one target repository. Text: `REPOSITORY (RULE):*`."""

    __slots__ = ()

    def __init__(self, repository: str, rule: str) -> None:
        super().__init__(repository, rule)

    @property
    def rule(self) -> str:
        """The name of the rule."""
        return self._name

    def __str__(self) -> str:
        return f"{self.repository} ({self.rule}):{_ANY_TAG}"
