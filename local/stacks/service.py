"""The operations of CloudFormation's API that `sam`, `aws` and our own programs use, in the place of moto's.

CloudFormation API reference. A request does its work before it answers; waiters find it done at their first look.
"""

import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple
from urllib.parse import unquote, urlsplit

from local.aws import ACCOUNT_ID, REGION
from local.aws.moto_guard import replace, stock, take
from local.deploy.errors import DeploymentError
from local.stacks import answers
from local.stacks.errors import RefusedError, StackError
from local.stacks.stack import Stack, Template
from local.stacks.templates import check_capabilities, parsed, read_object, resolved_template

_RESPONSES: Final = "moto.cloudformation.responses"
_UNCHANGED: Final = (
    "The submitted information didn't contain changes. Submit different information to create a change set."
)
_DELETED: Final = "DELETE_COMPLETE"


class ChangeSet(NamedTuple):
    """What was made ready and may be executed."""

    id: str
    name: str
    kind: str  # CREATE or UPDATE
    stack: Stack
    template: Template
    tags: Mapping[str, str]
    created: datetime
    unchanged: bool


class Stacks:
    """All stacks of one local AWS."""

    def __init__(self, base_url: Callable[[], str]) -> None:
        self._base_url = base_url
        self._stacks: dict[str, Stack] = {}  # by id, deleted ones included
        self._change_sets: dict[str, ChangeSet] = {}

    def operations(self) -> Mapping[str, Callable[[Any], Any]]:
        """Map the names of moto's methods to what answers in their place."""
        return {
            "create_stack": self._create_stack,
            "update_stack": self._update_stack,
            "delete_stack": self._delete_stack,
            "describe_stacks": self._describe_stacks,
            "describe_stack_events": self._describe_stack_events,
            "describe_stack_resource": self._describe_resource,
            "describe_stack_resources": self._describe_resources,
            "list_stack_resources": self._list_resources,
            "list_stacks": self._list_stacks,
            "create_change_set": self._create_change_set,
            "describe_change_set": self._describe_change_set,
            "execute_change_set": self._execute_change_set,
            "delete_change_set": self._delete_change_set,
            "list_change_sets": self._list_change_sets,
            "get_template": self._get_template,
            "get_template_summary": self._get_template_summary,
        }

    def _create_stack(self, request: Any) -> Any:
        name = request._get_param("StackName")
        if self._named(name) is not None:
            raise RefusedError("AlreadyExistsException", f"Stack [{name}] already exists")
        stack = Stack(name, _tags(request))
        template = self._template(request, stack)
        self._stacks[stack.id] = stack
        stack.create(template)
        return {"StackId": stack.id}

    def _update_stack(self, request: Any) -> Any:
        stack = self._find(request._get_param("StackName"))
        template = self._template(request, stack)
        if not stack.is_changed_by(template.settled):
            raise StackError("No updates are to be performed.")
        stack.tags = _tags(request) or stack.tags
        stack.update(template)
        return {"StackId": stack.id}

    def _delete_stack(self, request: Any) -> None:
        stack = self._named(request._get_param("StackName"))
        if stack is not None and stack.status != _DELETED:  # of one that is not there, AWS says nothing either
            stack.delete()

    def _describe_stacks(self, request: Any) -> Any:
        name = request._get_param("StackName")
        found = [self._find(name)] if name else self._alive()
        return {"Stacks": [answers.described(stack) for stack in found]}

    def _describe_stack_events(self, request: Any) -> Any:
        stack = self._find(request._get_param("StackName"))
        return {"StackEvents": answers.events(stack)}

    def _describe_resource(self, request: Any) -> Any:
        stack = self._find(request._get_param("StackName"))
        name = request._get_param("LogicalResourceId")
        if name not in stack.made:
            raise StackError(f"Resource {name} does not exist for stack {stack.name}")
        return {"StackResourceDetail": answers.resource(stack, name, "LastUpdatedTimestamp")}

    def _describe_resources(self, request: Any) -> Any:
        stack = self._find(request._get_param("StackName"))
        wanted = request._get_param("LogicalResourceId")
        names = [name for name in stack.made if wanted in (None, name)]
        return {"StackResources": [answers.resource(stack, name, "Timestamp") for name in names]}

    def _list_resources(self, request: Any) -> Any:
        stack = self._find(request._get_param("StackName"))
        return {
            "StackResourceSummaries": [answers.resource(stack, name, "LastUpdatedTimestamp") for name in stack.made]
        }

    def _list_stacks(self, request: Any) -> Any:
        wanted = request._get_param("StackStatusFilter", [])
        found = [stack for stack in self._stacks.values() if not wanted or stack.status in wanted]
        return {"StackSummaries": [answers.summary(stack) for stack in found]}

    def _create_change_set(self, request: Any) -> Any:
        name, kind = request._get_param("StackName"), request._get_param("ChangeSetType", "CREATE")
        if kind not in ("CREATE", "UPDATE"):
            raise StackError(f"the local AWS makes no change sets of type {kind}")
        stack = self._named(name)
        if kind == "CREATE" and (stack is None or stack.status != "REVIEW_IN_PROGRESS"):
            if stack is not None:
                raise RefusedError("AlreadyExistsException", f"Stack [{name}] already exists")
            stack = Stack(name, _tags(request))
            template = self._template(request, stack)
            self._stacks[stack.id] = stack
            stack.say("REVIEW_IN_PROGRESS", "User Initiated")
        else:
            stack = self._find(name)
            template = self._template(request, stack)
        change_set_name = request._get_param("ChangeSetName")
        change_set = ChangeSet(
            id=f"arn:aws:cloudformation:{REGION}:{ACCOUNT_ID}:changeSet/{change_set_name}/{uuid.uuid4()}",
            name=change_set_name,
            kind=kind,
            stack=stack,
            template=template,
            tags=_tags(request),
            created=datetime.now(UTC),
            unchanged=not stack.is_changed_by(template.settled),
        )
        self._change_sets[change_set.id] = change_set
        return {"Id": change_set.id, "StackId": stack.id}

    def _describe_change_set(self, request: Any) -> Any:
        change_set = self._find_change_set(request)
        parameters = change_set.template.settled.parameters
        return {
            "ChangeSetId": change_set.id,
            "ChangeSetName": change_set.name,
            "StackId": change_set.stack.id,
            "StackName": change_set.stack.name,
            "CreationTime": change_set.created,
            "Parameters": dict(parameters),
            "Tags": answers.pairs(change_set.tags),
            "Changes": [answers.ShownChange(each) for each in change_set.stack.changes(change_set.template.settled)],
            "Status": "FAILED" if change_set.unchanged else "CREATE_COMPLETE",
            "StatusReason": _UNCHANGED if change_set.unchanged else None,
            "ExecutionStatus": "UNAVAILABLE" if change_set.unchanged else "AVAILABLE",
        }

    def _execute_change_set(self, request: Any) -> Any:
        change_set = self._find_change_set(request)
        if change_set.unchanged:
            raise RefusedError("InvalidChangeSetStatus", f"ChangeSet [{change_set.id}] cannot be executed")
        del self._change_sets[change_set.id]
        stack = change_set.stack
        stack.tags = dict(change_set.tags) or stack.tags
        if change_set.kind == "CREATE":
            stack.create(change_set.template)
        else:
            stack.update(change_set.template)
        return {}

    def _delete_change_set(self, request: Any) -> Any:
        del self._change_sets[self._find_change_set(request).id]
        return {}

    def _list_change_sets(self, request: Any) -> Any:
        stack = self._find(request._get_param("StackName"))
        found = [each for each in self._change_sets.values() if each.stack is stack]
        return {"Summaries": [{"ChangeSetId": each.id, "ChangeSetName": each.name} for each in found]}

    def _get_template(self, request: Any) -> Any:
        stack = self._find(request._get_param("StackName"))
        text = stack.template.text
        if name := request._get_param("ChangeSetName"):
            text = next(each.template.text for each in self._change_sets.values() if name in (each.id, each.name))
        return {"TemplateBody": text, "StagesAvailable": ["Original"]}

    def _get_template_summary(self, request: Any) -> Any:
        name = request._get_param("StackName")
        text = self._find(name).template.text if name else self._text(request)
        return answers.template_summary(parsed(text))

    def _alive(self) -> list[Stack]:
        return [stack for stack in self._stacks.values() if stack.status != _DELETED]

    def _named(self, name: str) -> Stack | None:
        if name in self._stacks:
            return self._stacks[name]
        return next((stack for stack in self._alive() if stack.name == name), None)

    def _find(self, name: str) -> Stack:
        stack = self._named(name)
        if stack is None:
            raise StackError(f"Stack with id {name} does not exist")
        return stack

    def _find_change_set(self, request: Any) -> ChangeSet:
        name, stack = request._get_param("ChangeSetName"), request._get_param("StackName")
        for each in self._change_sets.values():
            if name in (each.id, each.name) and stack in (None, each.stack.name, each.stack.id):
                return each
        raise RefusedError("ChangeSetNotFound", f"ChangeSet [{name}] does not exist")

    def _text(self, request: Any) -> str:
        if url := request._get_param("TemplateURL"):
            return self._object(url)
        body: str | None = request._get_param("TemplateBody")
        if body is None:
            raise StackError("Either Template URL or Template Body must be specified.")
        return body

    def _object(self, url: str) -> str:
        if not url.startswith(f"{self._base_url()}/"):
            raise StackError(f"TemplateURL must be a supported URL: {url} is not of the local S3")
        bucket, _, key = unquote(urlsplit(url).path).lstrip("/").partition("/")
        return read_object(bucket, key)

    def _template(self, request: Any, stack: Stack) -> Template:
        previous = request._get_bool_param("UsePreviousTemplate", False)
        text = stack.template.text if previous else self._text(request)
        source = parsed(text)
        parameters = _given(request, stack.template.settled.parameters)
        check_capabilities(source, request._get_param("Capabilities", []))
        return Template(text, resolved_template(source, parameters, stack.name, stack.id))


def install(base_url: Callable[[], str]) -> None:
    """Answer in moto's place, with no stack in the beginning."""
    for name, answer in Stacks(base_url).operations().items():
        replace(_RESPONSES, f"CloudFormationResponse.{name}", _method(answer))


def uninstall() -> None:
    """Let moto answer again."""
    for name in Stacks(str).operations():
        replace(_RESPONSES, f"CloudFormationResponse.{name}", stock(_RESPONSES, f"CloudFormationResponse.{name}"))


def _method(answer: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def method(response: Any) -> Any:
        try:
            result = answer(response)
        except (StackError, DeploymentError) as error:
            raise _refusal("ValidationError", str(error)) from error
        except RefusedError as error:
            raise _refusal(error.code, str(error)) from error
        return take("moto.core.responses", "ActionResult")(result or {})

    return method


def _refusal(code: str, message: str) -> Exception:
    refusal: Exception = take("moto.cloudformation.exceptions", "CloudFormationError")(code, message)
    return refusal


def _given(request: Any, before: Mapping[str, str]) -> dict[str, str]:
    given: dict[str, str] = {}
    for parameter in request._get_param("Parameters", []):
        name = parameter["ParameterKey"]
        if str(parameter.get("UsePreviousValue", "")).lower() != "true":
            given[name] = parameter["ParameterValue"]
        elif name in before:
            given[name] = before[name]
        else:
            raise StackError(f"Invalid input for parameter key {name}. There is no previous value")
    return given


def _tags(request: Any) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in request._get_param("Tags", [])}
