"""One stack: brings its resources to what a template says, in order, and back when something fails. Knows no API."""

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

from local.aws import ACCOUNT_ID, REGION
from local.stacks import resources
from local.stacks.errors import StackError
from local.stacks.intrinsics import resolve
from local.stacks.resources import CreatedResource, StackLabel
from local.stacks.settled import NOTHING, Declared, ResolvedTemplate, in_order

_STACK: Final = "AWS::CloudFormation::Stack"
_MOMENT: Final = timedelta(milliseconds=1)


class Event(NamedTuple):
    """What happened to a resource, or to the stack."""

    at: datetime
    logical_id: str
    physical_id: str
    kind: str
    status: str
    reason: str


class Change(NamedTuple):
    """What a change set does to one resource."""

    action: str  # Add, Modify, Remove
    logical_id: str
    kind: str
    replacement: str | None


class Template(NamedTuple):
    """A template as it was given, and what it means with its parameters."""

    text: str
    settled: ResolvedTemplate


class Stack:
    """A stack and everything that it made."""

    def __init__(self, name: str, tags: Mapping[str, str]) -> None:
        self.name = name
        self.id = f"arn:aws:cloudformation:{REGION}:{ACCOUNT_ID}:stack/{name}/{uuid.uuid4()}"
        self.tags = dict(tags)
        self.created = datetime.now(UTC)
        self.template = Template("", NOTHING)
        self.made: dict[str, CreatedResource] = {}
        self.outputs: dict[str, tuple[str, str]] = {}
        self.events: list[Event] = []
        self.status = ""
        self.reason = ""

    def changes(self, to: ResolvedTemplate) -> list[Change]:
        """List what an update to another template does, as far as that is known beforehand."""
        before = self.template.settled.resources
        changes = []
        for name, declared in to.resources.items():
            if name not in before:
                changes.append(Change("Add", name, declared.kind, None))
            elif before[name] != declared:
                changes.append(Change("Modify", name, declared.kind, self._replacement(name, declared)))
        removed = [Change("Remove", name, each.kind, None) for name, each in before.items() if name not in to.resources]
        return changes + removed

    def is_changed_by(self, to: ResolvedTemplate) -> bool:
        """Tell whether an update to another template does anything."""
        return bool(self.changes(to)) or self.template.settled.outputs != to.outputs

    def say(self, status: str, reason: str = "") -> None:
        """Enter a state, with an event."""
        self.status, self.reason = status, reason
        self._tell(self.name, self.id, _STACK, status, reason)

    def create(self, template: Template) -> None:
        """Make everything; what fails leaves nothing behind."""
        self.say("CREATE_IN_PROGRESS", "User Initiated")
        try:
            self._become(template)
        except Exception as error:  # noqa: BLE001  whatever went wrong, what was made is taken back, as in AWS
            self.say("ROLLBACK_IN_PROGRESS", str(error))
            self._delete_all()
            self.say("ROLLBACK_COMPLETE", str(error))
            return
        self.say("CREATE_COMPLETE")

    def update(self, template: Template) -> None:
        """Make, change and delete what differs; what fails brings back what was."""
        before = self.template
        self.say("UPDATE_IN_PROGRESS", "User Initiated")
        try:
            self._become(template)
        except Exception as error:  # noqa: BLE001  whatever went wrong, as in AWS
            self.say("UPDATE_ROLLBACK_IN_PROGRESS", str(error))
            self._become(before)
            self.say("UPDATE_ROLLBACK_COMPLETE", str(error))
            return
        self.say("UPDATE_COMPLETE")

    def delete(self) -> None:
        """Delete everything that is not to be retained."""
        self.say("DELETE_IN_PROGRESS", "User Initiated")
        try:
            self._delete_all()
        except Exception as error:  # noqa: BLE001  whatever went wrong, as in AWS
            self.say("DELETE_FAILED", str(error))
            return
        self.say("DELETE_COMPLETE")

    def physical_id(self, logical_id: str) -> str:
        """Return what AWS calls a resource."""
        return self.made[logical_id].physical_id

    def _become(self, template: Template) -> None:
        settled = template.settled
        old = [(name, self._put(name, settled.resources[name])) for name in in_order(settled.resources)]
        gone = [(name, self.made.pop(name)) for name in reversed(list(self.made)) if name not in settled.resources]
        for name, made in [*gone, *old]:
            if made is not None:
                self._remove(name, made)
        self.outputs = {
            name: (str(resolve(output.value, self)), output.description) for name, output in settled.outputs.items()
        }
        self.template = template

    def look_up(self, name: str, attribute: str | None) -> Any:
        """Return what `Ref` or `Fn::GetAtt` gives of a resource that is made."""
        made = self.made[name]
        return made.physical_id if attribute is None else resources.attribute(made, attribute)

    def holds(self, condition: str) -> bool:
        """Refuse: conditions were judged before."""
        raise StackError(f"the condition {condition} was not judged")

    def mapped(self, mapping: str, first: str, second: str) -> Any:
        """Refuse: mappings were looked up before, but for keys that a resource gives, which CloudFormation forbids."""
        raise StackError(f"Template error: mapping {mapping} has a key {first}, {second} that is no constant")

    def _put(self, name: str, declared: Declared) -> CreatedResource | None:
        """Make or change one resource, and return an old one that it takes the place of."""
        properties = resolve(declared.properties, self)
        made = self.made.get(name)
        if made is not None and (made.kind, made.properties) == (declared.kind, properties):
            self.made[name] = made._replace(policy=declared.policy)
            return None
        if made is not None and made.kind != declared.kind:
            raise StackError(f"Update of resource type is not permitted for {name}")
        if made is not None and not resources.is_replaced(made, properties):
            with _Doing(self, "UPDATE", name, declared.kind, made.physical_id):
                thing = resources.update(made, properties)
            self.made[name] = made._replace(properties=properties, thing=thing, policy=declared.policy)
            return None
        label = StackLabel(self.name, self.id, self.tags)
        with _Doing(self, "CREATE" if made is None else "UPDATE", name, declared.kind, ""):
            thing, physical_id = resources.create(declared.kind, name, properties, label)
        self.made[name] = CreatedResource(declared.kind, properties, thing, physical_id, declared.policy)
        return made

    def _delete_all(self) -> None:
        for name in reversed(list(self.made)):
            self._remove(name, self.made[name])
            del self.made[name]

    def _remove(self, name: str, made: CreatedResource) -> None:
        """Delete a resource, unless it is to be retained; what a failed deployment made need not be."""
        if made.policy == "Retain" or (made.policy == "RetainExceptOnCreate" and "ROLLBACK" not in self.status):
            self._tell(name, made.physical_id, made.kind, "DELETE_SKIPPED", "")
            return
        with _Doing(self, "DELETE", name, made.kind, made.physical_id):
            resources.delete(made)

    def _replacement(self, name: str, declared: Declared) -> str:
        made, before = self.made[name], self.template.settled.resources[name].properties
        changed = {key: value for key, value in declared.properties.items() if before.get(key) != value}
        kept = {key: value for key, value in made.properties.items() if key in declared.properties}
        return str(resources.is_replaced(made, {**kept, **changed}))

    def _tell(self, logical_id: str, physical_id: str, kind: str, status: str, reason: str) -> None:
        now = datetime.now(UTC)
        last = self.events[-1].at if self.events else now - _MOMENT
        at = max(now, last + _MOMENT)  # in the answers there are milliseconds only, and the order must show
        self.events.append(Event(at, logical_id, physical_id, kind, status, reason))


class _Doing:
    """Tells that something begins with a resource, and how it ends."""

    def __init__(self, stack: Stack, what: str, name: str, kind: str, physical_id: str) -> None:
        self._stack, self._what, self._about = stack, what, (name, physical_id, kind)

    def __enter__(self) -> None:
        self._stack._tell(*self._about, f"{self._what}_IN_PROGRESS", "")

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, __: object) -> None:
        ended = "COMPLETE" if error is None else "FAILED"
        self._stack._tell(*self._about, f"{self._what}_{ended}", str(error or ""))
