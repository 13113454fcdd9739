"""Deployment: what is in the template is in the local AWS, or the deployment says what is not."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from local.deploy import DeploymentError, deploy
from local.deploy.build import zipped
from local.deploy.translate import translate
from local.deploy.verify import verify
from local.tests.aws.stack import HERE, WholeStack

FUNCTION: dict[str, Any] = {
    "Type": "AWS::Serverless::Function",
    "Properties": {"Runtime": "python3.13", "Handler": "app.handler", "CodeUri": str(HERE / "functions/worker")},
}


def _template(tmp_path: Path, resources: dict[str, Any], **more: Any) -> Path:
    path = tmp_path / "template.yaml"
    path.write_text(yaml.safe_dump({"Transform": "AWS::Serverless-2016-10-31", "Resources": resources, **more}))
    return path


def test_function_keeps_what_moto_would_drop(whole: WholeStack) -> None:
    made = whole.aws.client("lambda").get_function(FunctionName=whole.stack.resources["Worker"])["Configuration"]

    assert [layer["Arn"] for layer in made["Layers"]] == [whole.stack.resources["SharedLayer"]]
    assert made["Architectures"] == ["arm64"]
    assert made["TracingConfig"] == {"Mode": "Active"}
    assert (made["MemorySize"], made["Timeout"]) == (256, 3)
    assert made["Environment"]["Variables"]["TABLE"] == whole.stack.resources["Records"]


def test_state_machine_keeps_logging_and_dollars(whole: WholeStack) -> None:
    made = whole.aws.client("stepfunctions").describe_state_machine(stateMachineArn=whole.stack.resources["Machine"])

    assert made["loggingConfiguration"]["level"] == "ERROR"
    assert made["tracingConfiguration"] == {"enabled": True}
    payload = json.loads(made["definition"])["States"]["Prepare"]["Parameters"]["Payload"]
    assert payload["name.$"] == "$$.Execution.Name"  # moto's own Sub makes it $.Execution.Name


def test_table_keeps_expiry_backups_and_key(whole: WholeStack) -> None:
    dynamodb, table = whole.aws.client("dynamodb"), whole.stack.resources["Records"]

    expiry = dynamodb.describe_time_to_live(TableName=table)["TimeToLiveDescription"]
    backups = dynamodb.describe_continuous_backups(TableName=table)["ContinuousBackupsDescription"]
    assert expiry["AttributeName"] == "expires_at"
    assert backups["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"] == "ENABLED"
    encryption = dynamodb.describe_table(TableName=table)["Table"]["SSEDescription"]
    assert encryption["KMSMasterKeyArn"] == "arn:aws:kms:eu-west-1:123456789012:key/1"


def test_subscription_is_made_and_a_condition_leaves_one_out(whole: WholeStack) -> None:
    whole.aws.client("sns").publish(TopicArn=whole.stack.resources["Alerts"], Message="alert")

    assert whole.taken("Seen") == ["alert"]
    assert "AlertMail" not in whole.stack.resources


def test_outputs_are_resolved(whole: WholeStack) -> None:
    assert whole.stack.outputs["SeenUrl"] == whole.stack.resources["Seen"]
    assert whole.stack.outputs["Somewhere"] == "pullahead in eu-west-1 costs $$${Nothing}"


def test_mapping_keeps_partial_answers_and_concurrency(whole: WholeStack) -> None:
    made = whole.aws.client("lambda").get_event_source_mapping(UUID=whole.stack.resources["ConsumerJobs"])

    assert made["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert made["ScalingConfig"] == {"MaximumConcurrency": 2}


def test_other_content_takes_the_place_of_the_templates(whole: WholeStack, tmp_path: Path) -> None:
    code = tmp_path / "code"
    code.mkdir()
    (code / "app.py").write_text("def handler(event, context):\n    return 'other'\n")
    template = _template(tmp_path, {"Worker": FUNCTION})

    stack = deploy(whole.aws, template, "other", content={"Worker": code})

    assert WholeStack(whole.aws, stack).ask().payload == "other"


@pytest.mark.parametrize("kind", ["AWS::Kinesis::Stream", "AWS::Scheduler::Schedule", "AWS::Nothing::AtAll"])
def test_resource_that_nothing_makes_is_refused_by_name(whole: WholeStack, tmp_path: Path, kind: str) -> None:
    template = _template(tmp_path, {"Worker": FUNCTION, "Odd": {"Type": kind}})

    with pytest.raises(DeploymentError, match=f"Odd: the local AWS makes no {kind}"):
        deploy(whole.aws, template, "refused")


def test_property_that_would_be_dropped_is_refused(whole: WholeStack, tmp_path: Path) -> None:
    function = {**FUNCTION, "Properties": {**FUNCTION["Properties"], "KmsKeyArn": "arn:aws:kms:eu-west-1:1:key/k"}}

    with pytest.raises(DeploymentError, match=r"Worker: .* drop \['KmsKeyArn'\]"):
        deploy(whole.aws, _template(tmp_path, {"Worker": function}), "refused")


def test_resource_that_vanished_is_noticed(whole: WholeStack) -> None:
    template = {"Resources": {"Lost": {"Type": "AWS::SQS::Queue"}}}

    with pytest.raises(DeploymentError, match="Lost: AWS::SQS::Queue was not made"):
        verify(whole.aws, template, {})
    with pytest.raises(DeploymentError, match="Lost: AWS::SQS::Queue is not as the template says"):
        verify(whole.aws, template, {"Lost": "https://sqs.eu-west-1.amazonaws.com/123456789012/nowhere"})


def test_function_that_lost_its_layers_is_noticed(whole: WholeStack) -> None:
    declared = {"Type": "AWS::Lambda::Function", "Properties": {"Layers": ["arn:one", "arn:two"]}}

    with pytest.raises(DeploymentError, match="number of layers is 1 and not 2"):
        verify(whole.aws, {"Resources": {"Worker": declared}}, whole.stack.resources)


def test_dashboard_may_name_alarms_that_are_not_made(whole: WholeStack, tmp_path: Path) -> None:
    metric = {"Namespace": "N", "MetricName": "M", "Dimensions": [{"Name": "Q", "Value": {"Ref": "Topic"}}]}
    body = '{"widgets": [{"type": "alarm", "properties": {"alarms": ["${Alarm.Arn}", "${Alarm}", "${Topic}"]}}]}'
    board = {"DashboardName": "board", "DashboardBody": {"Fn::Sub": body}}
    resources = {
        "Topic": {"Type": "AWS::SNS::Topic"},
        "Alarm": {"Type": "AWS::CloudWatch::Alarm", "Properties": metric},
        "Board": {"Type": "AWS::CloudWatch::Dashboard", "Properties": board},
    }

    stack = deploy(whole.aws, _template(tmp_path, resources), "board")
    made = whole.aws.client("cloudwatch").get_dashboard(DashboardName="board")["DashboardBody"]
    (widget,) = json.loads(made)["widgets"]
    assert widget["properties"]["alarms"] == ["Alarm-Arn", "Alarm", stack.resources["Topic"]]


@pytest.mark.parametrize("body", ["{", "{}", '{"widgets": [{"properties": {"endpoint": "${Worker.Arn}"}}]}'])
def test_empty_dashboard_is_refused(whole: WholeStack, tmp_path: Path, body: str) -> None:
    board = {"Type": "AWS::CloudWatch::Dashboard", "Properties": {"DashboardName": "odd", "DashboardBody": body}}

    with pytest.raises(DeploymentError, match="Board: AWS::CloudWatch::Dashboard is not as the template says"):
        deploy(whole.aws, _template(tmp_path, {"Board": board}), f"odd-{len(body)}")


def test_schedule_that_the_ticker_cannot_read_is_refused(whole: WholeStack, tmp_path: Path) -> None:
    rule = {"Type": "AWS::Events::Rule", "Properties": {"ScheduleExpression": "cron(0 12 * * ? *)"}}

    with pytest.raises(DeploymentError, match="reads rate"):
        deploy(whole.aws, _template(tmp_path, {"Noon": rule}), "noon")


def test_list_by_default_is_a_list(whole: WholeStack, tmp_path: Path) -> None:
    """moto alone parts only lists that are given, and joins the letters of others."""
    topic = {"Topic": {"Type": "AWS::SNS::Topic", "Properties": {"DisplayName": {"Fn::Join": ["+", {"Ref": "Names"}]}}}}
    template = _template(tmp_path, topic, Parameters={"Names": {"Type": "CommaDelimitedList", "Default": "one,two"}})
    stack = deploy(whole.aws, template, "lists")
    attributes = whole.aws.client("sns").get_topic_attributes(TopicArn=stack.resources["Topic"])["Attributes"]
    assert attributes["DisplayName"] == "one+two"


@pytest.mark.parametrize(
    ("parameters", "complaint"), [({"Typo": "x"}, "no parameters"), ({}, "no default"), ({"Name": "x"}, None)]
)
def test_parameters_are_checked(
    whole: WholeStack, tmp_path: Path, parameters: dict[str, str], complaint: str | None
) -> None:
    topic = {"Topic": {"Type": "AWS::SNS::Topic"}}
    template = _template(tmp_path, topic, Parameters={"Name": {"Type": "String"}})

    if complaint is None:
        assert deploy(whole.aws, template, "parameters", parameters).resources["Topic"].startswith("arn:aws:sns:")
    else:
        with pytest.raises(DeploymentError, match=complaint):
            deploy(whole.aws, template, "parameters", parameters)


@pytest.mark.parametrize(("subnets", "within"), [("", None), ("subnet-1,subnet-2", ["subnet-1", "subnet-2"])])
def test_function_loses_the_vpc_that_a_list_puts_it_into(
    whole: WholeStack, tmp_path: Path, subnets: str, within: list[str] | None
) -> None:
    vpc = {"SubnetIds": {"Ref": "Subnets"}, "SecurityGroupIds": ["sg-1"]}
    within_if = {"VpcConfig": {"Fn::If": ["HasVpc", vpc, {"Ref": "AWS::NoValue"}]}}
    function = {**FUNCTION, "Properties": {**FUNCTION["Properties"], **within_if}}
    condition = {"Fn::Not": [{"Fn::Equals": [{"Fn::Join": ["", {"Ref": "Subnets"}]}, ""]}]}
    template = _template(
        tmp_path,
        {"Worker": function},
        Parameters={"Subnets": {"Type": "CommaDelimitedList", "Default": ""}},
        Conditions={"HasVpc": condition},
    )

    stack = deploy(whole.aws, template, f"vpc-{len(subnets)}", {"Subnets": subnets})
    made = whole.aws.client("lambda").get_function(FunctionName=stack.resources["Worker"])["Configuration"]
    assert made.get("VpcConfig", {}).get("SubnetIds") == within


def test_code_with_requirements_of_its_own_is_refused(whole: WholeStack, tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("requests")

    with pytest.raises(DeploymentError, match="dependencies go in a layer"):
        deploy(whole.aws, _template(tmp_path, {"Worker": FUNCTION}), "refused", content={"Worker": tmp_path})


def test_layer_that_does_not_build_says_why(whole: WholeStack, tmp_path: Path) -> None:
    (tmp_path / "Makefile").write_text("build-Broken:\n\t@echo no compiler here; false\n")
    layer = {
        "Type": "AWS::Serverless::LayerVersion",
        "Metadata": {"BuildMethod": "makefile"},
        "Properties": {"ContentUri": str(tmp_path)},
    }

    with pytest.raises(DeploymentError, match="no compiler here"):
        deploy(whole.aws, _template(tmp_path, {"Broken": layer}), "broken")


@pytest.mark.parametrize(
    ("substitutions", "complaint"), [({}, r"\['Worker'\] are not in"), ({"Worker": "a", "Other": "b"}, r"\['Other'\]")]
)
def test_tokens_and_substitutions_must_agree(substitutions: dict[str, str], complaint: str) -> None:
    machine = {
        "Type": "AWS::Serverless::StateMachine",
        "Properties": {
            "DefinitionUri": {"Bucket": "b", "Key": "k"},
            "Role": "arn:aws:iam::123456789012:role/r",
            "DefinitionSubstitutions": substitutions,
        },
    }

    with pytest.raises(DeploymentError, match=complaint):
        translate({"Resources": {"Machine": machine}}, {}, {"Machine": {"Resource": "${Worker}"}})


def test_same_folder_gives_the_same_zip_whatever_its_dates(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1")
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "a.pyc").write_bytes(b"compiled")
    before = zipped(tmp_path)
    shipped = zipped(tmp_path, with_bytecode=True)

    for file in tmp_path.rglob("*.py*"):
        os.utime(file, (1, 1))

    assert zipped(tmp_path, with_bytecode=True) == shipped
    (tmp_path / "__pycache__" / "a.pyc").write_bytes(b"compiled again")

    assert zipped(tmp_path) == before
    assert zipped(tmp_path, with_bytecode=True) != shipped


def test_stack_that_exists_is_not_deployed_over(whole: WholeStack, tmp_path: Path) -> None:
    template = _template(tmp_path, {"Topic": {"Type": "AWS::SNS::Topic"}})
    deploy(whole.aws, template, "twice")

    with pytest.raises(DeploymentError, match="refused"):
        deploy(whole.aws, template, "twice")
