"""Scripted faults, hooks in the middle, and the log of calls."""

import requests

from local.ecr.errors import EcrError
from local.ecr.faults import Call
from local.tests.ecr.harness import RunningEcr, begin, oci_error, push, refused, send_part

REPOSITORY = "team/app"


def test_fault_is_played_as_often_as_scripted_and_changes_nothing(registry: RunningEcr) -> None:
    registry.ecr.faults.add("UploadLayerPart", "ThrottlingException", times=2)
    upload_id = begin(registry.client, REPOSITORY)
    for _ in range(2):
        with refused("ThrottlingException", "Rate exceeded"):
            send_part(registry.client, REPOSITORY, upload_id, 0, b"x")
    assert send_part(registry.client, REPOSITORY, upload_id, 0, b"x") == 0
    assert registry.ecr.calls.operations() == ["InitiateLayerUpload", *["UploadLayerPart"] * 3]


def test_fault_after_the_effect_loses_only_the_answer(registry: RunningEcr) -> None:
    registry.ecr.faults.add("PutImage", "ServerException", after=True)
    with refused("ServerException"):
        push(registry.client, REPOSITORY, "one", "latest")
    assert len(registry.client.list_images(repositoryName=REPOSITORY)["imageIds"]) == 1
    assert len(registry.events) == 1


def test_hook_acts_before_the_operation(registry: RunningEcr) -> None:
    seen: list[Call] = []

    def vanish(call: Call) -> None:
        seen.append(call)
        registry.ecr.forget_uploads()

    registry.ecr.faults.before("UploadLayerPart", vanish, times=1)
    first = begin(registry.client, REPOSITORY)
    with refused("UploadNotFoundException"):
        send_part(registry.client, REPOSITORY, first, 0, b"x")
    send_part(registry.client, REPOSITORY, begin(registry.client, REPOSITORY), 0, b"x")
    (call,) = seen
    assert (call.operation, call.repository, call.parameters["uploadId"]) == ("UploadLayerPart", REPOSITORY, first)
    assert "layerPartBlob" not in call.parameters


def test_hook_without_end_runs_each_time_and_may_refuse(registry: RunningEcr) -> None:
    def deny(_call: Call) -> None:
        raise EcrError("AccessDeniedException", "not you")

    registry.ecr.faults.before("ListImages", deny)
    for _ in range(3):
        with refused("AccessDeniedException", "not you"):
            registry.client.list_images(repositoryName=REPOSITORY)


def test_fault_of_the_docker_endpoint_has_the_format_of_oci(registry: RunningEcr) -> None:
    registry.ecr.faults.add("v2:StartUpload", "ThrottlingException")
    registry.ecr.faults.add("v2:StartUpload", "ServerException")
    url = f"{registry.url}/v2/{REPOSITORY}/blobs/uploads/"
    answers = [requests.post(url, headers=registry.authorization(), timeout=10) for _ in range(3)]
    assert [oci_error(answer) for answer in answers[:2]] == [(429, "TOOMANYREQUESTS"), (500, "UNKNOWN")]
    assert answers[2].status_code == 202


def test_calls_are_counted_by_repository(registry: RunningEcr) -> None:
    registry.client.create_repository(repositoryName="team/other")
    for repository in (REPOSITORY, "team/other", "team/other"):
        begin(registry.client, repository)
    assert registry.ecr.calls.count("InitiateLayerUpload") == 3
    assert registry.ecr.calls.count("InitiateLayerUpload", "team/other") == 2
    assert len(registry.ecr.calls) == 4


def test_reset_forgets_faults_and_calls(registry: RunningEcr) -> None:
    registry.ecr.faults.add("ListImages", "ServerException")
    registry.ecr.faults.before("ListImages", lambda _call: registry.events.append({}))
    registry.client.describe_repositories()
    registry.ecr.reset()
    registry.client.create_repository(repositoryName=REPOSITORY)
    registry.client.list_images(repositoryName=REPOSITORY)
    assert registry.events == []
    assert registry.ecr.calls.operations() == ["CreateRepository", "ListImages"]
