"""The last step of the demo: a mirror in every state that there is, so that the page shows what each looks like."""

from collections.abc import Mapping
from typing import Final

from local.demo.deviation import DeviationError
from local.demo.screen import Screen
from local.demo.stage import ALERT_AFTER, CHECK_EVERY, Stage
from local.images import LocalImage, make_image
from local.registry import FakeRegistry
from pullahead.mirrors.record import MirrorRecord, State
from pullahead.oci import Digest

_CAUSES: Final[Mapping[State, str]] = {
    State.BLOCKED: "its ECR repository has immutable tags, and another image under the tag",
    State.GONE: "upstream deletes the tag",
    State.STALE: "upstream moves the tag to an image that lacks a layer",
    State.MISSING: "upstream never had a layer of the image",
    State.UNKNOWN: "its registry is down",
    State.HELD: "its rule says admit: {approve: true}, and nobody has admitted it",
    State.COOLING: "upstream moves the tag, and its rule says admit: {min_age: 3d, first_copy: admit}",
    State.DELETED: "somebody deletes it from ECR, and its rule says when_deleted: leave",
}

_MORE: Final[Mapping[State, str]] = {
    State.DELETED: "    when_deleted: leave\n",
    State.HELD: "    admit: {approve: true}\n",
    State.COOLING: "    admit: {min_age: 3d, first_copy: admit}\n",
}


def tell_states(stage: Stage, screen: Screen, upstream: FakeRegistry) -> None:
    """Tell the step. Raises DeviationError."""
    screen.step("One mirror for every state that there is")
    stage.on_invocation = lambda _: None  # several of them fail, as they should
    with FakeRegistry() as other:
        _push_all(stage, upstream, other)
        stage.deploy_rules(_rules(stage.tag, upstream, other), other.host)
        screen.say(f"{len(_CAUSES)} more mirrors are written into the rules, which are deployed; the schedule fires")
        stage.tick(CHECK_EVERY)
        screen.say("everything that can go wrong does; the schedule fires again")
        _break_all(stage, upstream, other)
        stage.tick(CHECK_EVERY)
    records = {state: _record(stage, state) for state in _CAUSES}
    rows = [(state.value, str(record.key), _CAUSES[state]) for state, record in records.items()]
    screen.table("Every state but FRESH", ("state", "mirror", "since"), list[tuple[str, ...]](rows))
    screen.proved("each mirror is in the state that it should be in; `pullahead why MIRROR` explains it, step by step")


def _push_all(stage: Stage, upstream: FakeRegistry, other: FakeRegistry) -> None:
    """Push what is mirrored, and into ECR what is in the way."""
    for state in _CAUSES:
        registry = other if state is State.UNKNOWN else upstream
        registry.push(_image(state), _path(state), stage.tag)
    upstream.content.delete_blob(_path(State.MISSING), _layer(_image(State.MISSING)))
    name = _repository(State.BLOCKED)
    stage.aws.client("ecr").create_repository(repositoryName=name, imageTagMutability="IMMUTABLE")
    stage.client().push(make_image([1024], seed=950), name, stage.tag)


def _break_all(stage: Stage, upstream: FakeRegistry, other: FakeRegistry) -> None:
    """Bring about what is not yet so."""
    upstream.content.delete_tag(_path(State.GONE), stage.tag)
    moved = make_image([300_000], seed=951)
    upstream.push(moved, _path(State.STALE), stage.tag)
    upstream.content.delete_blob(_path(State.STALE), _layer(moved))
    upstream.push(make_image([250_000], seed=952), _path(State.COOLING), stage.tag)
    other.down = True
    stage.aws.client("ecr").batch_delete_image(
        repositoryName=_repository(State.DELETED), imageIds=[{"imageTag": stage.tag}]
    )
    stage.settle()


def _record(stage: Stage, state: State) -> MirrorRecord:
    record = stage.record(_repository(state))
    if record is None or record.state is not state:
        raise DeviationError(f"{_repository(state)} is not {state.value}: {record}")
    return record


def _rules(tag: str, upstream: FakeRegistry, other: FakeRegistry) -> str:
    """Write the entries of the rules file."""
    return "".join(
        f"  - upstream: {(other if state is State.UNKNOWN else upstream).host}/{_path(state)}\n"
        f'    tags: ["{tag}"]\n'
        f"    repository: {_repository(state)}\n"
        f"    check_every: {int(CHECK_EVERY.total_seconds())}s\n"
        f"    alert_after: {int(ALERT_AFTER.total_seconds())}s\n" + _MORE.get(state, "")
        for state in _CAUSES
    )


def _path(state: State) -> str:
    return f"states/{state.value.lower()}"


def _repository(state: State) -> str:
    return f"mirror/{_path(state)}"


def _image(state: State) -> LocalImage:
    return make_image([250_000], seed=900 + list(_CAUSES).index(state))


def _layer(image: LocalImage) -> Digest:
    return max(image.blobs, key=lambda digest: len(image.blobs[digest]))
