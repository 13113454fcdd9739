"""The local CloudFormation does with stacks what AWS's does: change sets, updates, replacements, roll-backs."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.aws.server import LocalAws
from tests.contract.local_services import new_name

QUEUE = {"Type": "AWS::SQS::Queue", "Properties": {"VisibilityTimeout": {"Ref": "Seconds"}}}
BUCKET = {"Type": "AWS::S3::Bucket"}
TOPIC = {"Type": "AWS::SNS::Topic", "Condition": "IsWanted"}
PARAMETERS = {
    "Seconds": {"Type": "Number", "Default": 30, "MinValue": 10},
    "Wanted": {"Type": "String", "Default": "no", "AllowedValues": ["yes", "no"]},
}
ROLE = {
    "Type": "AWS::IAM::Role",
    "Properties": {"AssumeRolePolicyDocument": {"Version": "2012-10-17", "Statement": []}},
}


def template(**resources: Any) -> str:
    return json.dumps(
        {
            "Parameters": PARAMETERS,
            "Conditions": {"IsWanted": {"Fn::Equals": [{"Ref": "Wanted"}, "yes"]}},
            "Resources": resources,
            "Outputs": {name: {"Value": {"Ref": name}} for name in resources if name != "Topic"},
        }
    )


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalAws]:
    with LocalAws(tmp_path_factory.mktemp("stacks") / "aws") as running:
        yield running


class CloudFormation:
    """A stack of one test, driven as `sam` drives one."""

    def __init__(self, aws: LocalAws) -> None:
        self.aws, self.client, self.name = aws, aws.client("cloudformation"), new_name("stack")

    def change_set(self, text: str, kind: str, **values: str) -> dict[str, Any]:
        """Make a change set; a value of "=" is the previous one."""
        parameters = [
            {"ParameterKey": key, **({"UsePreviousValue": True} if value == "=" else {"ParameterValue": value})}
            for key, value in values.items()
        ]
        self.client.create_change_set(
            StackName=self.name,
            ChangeSetName="changes",
            ChangeSetType=kind,
            TemplateBody=text,
            Parameters=parameters,
            Tags=[{"Key": "made-by", "Value": "test"}],
        )
        described: dict[str, Any] = self.client.describe_change_set(StackName=self.name, ChangeSetName="changes")
        return described

    def deploy(self, text: str, kind: str = "UPDATE", **values: str) -> str:
        """Make a change set and execute it; return the stack's status."""
        self.change_set(text, kind, **values)
        self.client.execute_change_set(StackName=self.name, ChangeSetName="changes")
        return str(self.stack()["StackStatus"])

    def stack(self) -> dict[str, Any]:
        described: dict[str, Any] = self.client.describe_stacks(StackName=self.name)["Stacks"][0]
        return described

    def outputs(self) -> dict[str, str]:
        return {each["OutputKey"]: each["OutputValue"] for each in self.stack().get("Outputs", [])}

    def events(self) -> list[tuple[str, str]]:
        found = self.client.describe_stack_events(StackName=self.name)["StackEvents"]
        return [(each["LogicalResourceId"], each["ResourceStatus"]) for each in reversed(found)]

    def visibility(self) -> str:
        attributes = self.aws.client("sqs").get_queue_attributes(
            QueueUrl=self.outputs()["Queue"], AttributeNames=["All"]
        )["Attributes"]
        return str(attributes["VisibilityTimeout"])


@pytest.fixture
def stack(aws: LocalAws) -> CloudFormation:
    return CloudFormation(aws)


def changes(described: dict[str, Any]) -> list[tuple[str, str]]:
    found = (each["ResourceChange"] for each in described["Changes"])
    return [(each["Action"], each["LogicalResourceId"]) for each in found]


def test_change_set_shows_what_it_does_and_does_it_when_executed(stack: CloudFormation) -> None:
    shown = stack.change_set(template(Queue=QUEUE, Topic=TOPIC), "CREATE", Seconds="40")
    assert changes(shown) == [("Add", "Queue")]  # a condition leaves the topic out
    assert stack.stack()["StackStatus"] == "REVIEW_IN_PROGRESS"
    stack.client.execute_change_set(StackName=stack.name, ChangeSetName="changes")
    described = stack.stack()
    assert described["StackStatus"] == "CREATE_COMPLETE"
    assert described["Tags"] == [{"Key": "made-by", "Value": "test"}]
    assert stack.visibility() == "40"
    assert stack.events() == [
        (stack.name, "REVIEW_IN_PROGRESS"),
        (stack.name, "CREATE_IN_PROGRESS"),
        ("Queue", "CREATE_IN_PROGRESS"),
        ("Queue", "CREATE_COMPLETE"),
        (stack.name, "CREATE_COMPLETE"),
    ]


def test_change_set_without_changes_fails_and_says_so(stack: CloudFormation) -> None:
    text = template(Queue=QUEUE)
    stack.deploy(text, "CREATE")
    described = stack.change_set(text, "UPDATE", Seconds="30")
    assert (described["Status"], described["ExecutionStatus"]) == ("FAILED", "UNAVAILABLE")
    assert "didn't contain changes" in described["StatusReason"]
    with pytest.raises(ClientError, match="InvalidChangeSetStatus"):
        stack.client.execute_change_set(StackName=stack.name, ChangeSetName="changes")


def test_resource_is_changed_in_place_and_a_parameter_keeps_its_previous_value(stack: CloudFormation) -> None:
    text = template(Queue=QUEUE, Topic=TOPIC)
    stack.deploy(text, "CREATE", Seconds="40", Wanted="no")
    queue = stack.outputs()["Queue"]
    assert stack.deploy(text, Seconds="50", Wanted="=") == "UPDATE_COMPLETE"
    assert (stack.outputs()["Queue"], stack.visibility()) == (queue, "50")
    assert stack.deploy(text, Seconds="=", Wanted="yes") == "UPDATE_COMPLETE"
    assert stack.visibility() == "50"


def test_condition_that_changes_makes_a_resource_and_takes_it_away(stack: CloudFormation) -> None:
    text = template(Queue=QUEUE, Topic=TOPIC)
    stack.deploy(text, "CREATE")
    assert changes(stack.change_set(text, "UPDATE", Wanted="yes")) == [("Add", "Topic")]
    stack.client.execute_change_set(StackName=stack.name, ChangeSetName="changes")
    found = stack.client.describe_stack_resources(StackName=stack.name)["StackResources"]
    (topic,) = (each["PhysicalResourceId"] for each in found if each["LogicalResourceId"] == "Topic")
    stack.aws.client("sns").get_topic_attributes(TopicArn=topic)
    assert changes(stack.change_set(text, "UPDATE", Wanted="no")) == [("Remove", "Topic")]
    stack.client.execute_change_set(StackName=stack.name, ChangeSetName="changes")
    with pytest.raises(ClientError, match="NotFound"):
        stack.aws.client("sns").get_topic_attributes(TopicArn=topic)


def test_property_that_cannot_change_replaces_the_resource(stack: CloudFormation) -> None:
    def named(name: str) -> str:
        return template(Queue={"Type": "AWS::SQS::Queue", "Properties": {"QueueName": f"{stack.name}-{name}"}})

    stack.deploy(named("one"), "CREATE")
    old = stack.outputs()["Queue"]
    (change,) = stack.change_set(named("two"), "UPDATE")["Changes"]
    assert change["ResourceChange"]["Replacement"] == "True"
    stack.client.execute_change_set(StackName=stack.name, ChangeSetName="changes")
    assert stack.outputs()["Queue"].endswith("-two")
    with pytest.raises(ClientError, match="NonExistentQueue"):
        stack.aws.client("sqs").get_queue_attributes(QueueUrl=old, AttributeNames=["All"])


def test_update_that_fails_brings_back_what_was(stack: CloudFormation) -> None:
    stack.deploy(template(Queue=QUEUE), "CREATE", Seconds="40")
    lost = {
        "Type": "AWS::Lambda::Permission",
        "Properties": {"FunctionName": "nobody", "Action": "a", "Principal": "*"},
    }
    status = stack.deploy(template(Queue=QUEUE, Lost={**lost, "DependsOn": "Queue"}), Seconds="50")
    assert status == "UPDATE_ROLLBACK_COMPLETE"
    assert stack.visibility() == "40"
    assert ("Lost", "CREATE_FAILED") in stack.events()


def test_creation_that_fails_leaves_nothing(stack: CloudFormation) -> None:
    lost = {
        "Type": "AWS::Lambda::Permission",
        "Properties": {"FunctionName": "nobody", "Action": "a", "Principal": "*"},
    }
    bucket = {**BUCKET, "DeletionPolicy": "RetainExceptOnCreate"}
    status = stack.deploy(template(Bucket=bucket, Lost={**lost, "DependsOn": "Bucket"}), "CREATE")
    assert status == "ROLLBACK_COMPLETE"
    assert stack.client.describe_stack_resources(StackName=stack.name)["StackResources"] == []
    assert stack.name not in str(stack.aws.client("s3").list_buckets()["Buckets"])


def test_bucket_that_is_not_empty_stops_the_deletion_unless_it_is_retained(stack: CloudFormation) -> None:
    stack.deploy(template(Bucket=BUCKET, Queue=QUEUE), "CREATE")
    bucket = stack.outputs()["Bucket"]
    stack.aws.client("s3").put_object(Bucket=bucket, Key="a", Body=b"a")
    stack.client.delete_stack(StackName=stack.name)
    described = stack.stack()
    assert described["StackStatus"] == "DELETE_FAILED"
    assert "is not empty" in described["StackStatusReason"]

    retained = CloudFormation(stack.aws)
    retained.deploy(template(Bucket={**BUCKET, "DeletionPolicy": "RetainExceptOnCreate"}), "CREATE")
    bucket = retained.outputs()["Bucket"]
    retained.aws.client("s3").put_object(Bucket=bucket, Key="a", Body=b"a")
    retained.client.delete_stack(StackName=retained.name)
    with pytest.raises(ClientError, match=f"Stack with id {retained.name} does not exist"):
        retained.stack()
    retained.aws.client("s3").head_object(Bucket=bucket, Key="a")


def test_template_comes_out_of_s3_and_is_given_back_as_it_was(stack: CloudFormation) -> None:
    bucket = new_name("templates")
    s3 = stack.aws.client("s3")
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    text = template(Queue=QUEUE)
    s3.put_object(Bucket=bucket, Key="a/b.template", Body=text.encode())
    stack.client.create_stack(StackName=stack.name, TemplateURL=f"{stack.aws.url}/{bucket}/a/b.template")
    given = stack.client.get_template(StackName=stack.name)["TemplateBody"]
    assert (given if isinstance(given, str) else json.dumps(given)) == text
    summary = stack.client.get_template_summary(StackName=stack.name)
    assert [each["ParameterKey"] for each in summary["Parameters"]] == ["Seconds", "Wanted"]


@pytest.mark.parametrize(
    ("resources", "values", "complaint"),
    [
        ({"Queue": QUEUE}, {"Seconds": "9"}, "must lie between 10"),
        ({"Queue": QUEUE}, {"Seconds": "many"}, "must be a number"),
        ({"Queue": QUEUE}, {"Wanted": "perhaps"}, "must be one of"),
        ({"Queue": QUEUE}, {"Typo": "1"}, "do not exist in the template"),
        ({"Queue": QUEUE}, {"Typo": "="}, "no previous value"),
        ({}, {}, "At least one Resources member"),
        ({"Odd": {"Type": "AWS::Kinesis::Stream"}}, {}, "makes no AWS::Kinesis::Stream"),
        ({"Role": ROLE}, {}, "InsufficientCapabilities"),
        (
            {
                "Topic": {**TOPIC, "DependsOn": "Queue"},
                "Queue": {**QUEUE, "Properties": {"QueueName": {"Ref": "Topic"}}},
            },
            {},
            "Unresolved resource dependencies",
        ),
        (
            {"Topic": {**TOPIC, "Properties": {"TopicName": {"Fn::Join": [{"Ref": "Wanted"}, ["a", "b"]]}}}},
            {"Wanted": "yes"},
            "requires a string delimiter",
        ),
        ({"A": {**BUCKET, "DependsOn": "B"}, "B": {**BUCKET, "DependsOn": "A"}}, {}, "Circular dependency"),
    ],
)
def test_template_that_aws_would_not_take_is_refused(
    stack: CloudFormation, resources: dict[str, Any], values: dict[str, str], complaint: str
) -> None:
    with pytest.raises(ClientError, match=complaint):
        stack.change_set(template(**resources), "CREATE", **values)


def test_rule_of_the_template_is_asserted(stack: CloudFormation) -> None:
    rule = {
        "RuleCondition": {"Fn::Equals": [{"Ref": "Wanted"}, "yes"]},
        "Assertions": [
            {"Assert": {"Fn::Not": [{"Fn::Equals": [{"Ref": "Seconds"}, 30]}]}, "AssertDescription": "Say how long"}
        ],
    }
    text = json.dumps({**json.loads(template(Queue=QUEUE)), "Rules": {"LengthIsSaid": rule}})
    with pytest.raises(ClientError, match="Say how long"):
        stack.change_set(text, "CREATE", Wanted="yes")
    assert stack.deploy(text, "CREATE", Wanted="yes", Seconds="31") == "CREATE_COMPLETE"


def test_tags_of_the_stack_are_given_to_what_may_outlive_it(stack: CloudFormation) -> None:
    stack.deploy(template(Bucket=BUCKET, Group={"Type": "AWS::Logs::LogGroup"}), "CREATE")
    outputs = stack.outputs()
    tags = stack.aws.client("s3").get_bucket_tagging(Bucket=outputs["Bucket"])["TagSet"]
    assert tags == [{"Key": "made-by", "Value": "test"}]
    assert stack.aws.client("logs").list_tags_log_group(logGroupName=outputs["Group"])["tags"] == {"made-by": "test"}


def test_policies_of_a_role_can_be_simulated(aws: LocalAws) -> None:
    iam, allowed = aws.client("iam"), "arn:aws:ecr:eu-west-1:123456789012:repository/mirror/*"
    condition = {"StringEquals": {"aws:ResourceAccount": "123456789012"}}
    statement = {"Effect": "Allow", "Action": "ecr:PutImage", "Resource": allowed, "Condition": condition}
    trust = json.dumps(ROLE["Properties"]["AssumeRolePolicyDocument"])  # type: ignore[index]
    role = iam.create_role(RoleName=new_name("role"), AssumeRolePolicyDocument=trust)["Role"]
    iam.put_role_policy(
        RoleName=role["RoleName"],
        PolicyName="one",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [statement]}),
    )

    def decisions(account: str) -> dict[tuple[str, str], str]:
        context = {"ContextKeyName": "aws:ResourceAccount", "ContextKeyType": "string", "ContextKeyValues": [account]}
        results = iam.simulate_principal_policy(
            PolicySourceArn=role["Arn"],
            ActionNames=["ecr:PutImage", "ecr:DeleteRepository"],
            ResourceArns=[allowed.replace("*", "app"), allowed.replace("mirror/*", "app")],
            ContextEntries=[context],
        )["EvaluationResults"]
        return {
            (each["EvalActionName"], each["EvalResourceName"].rpartition("repository/")[2]): each["EvalDecision"]
            for each in results
        }

    assert decisions("123456789012") == {
        ("ecr:PutImage", "mirror/app"): "allowed",
        ("ecr:PutImage", "app"): "implicitDeny",
        ("ecr:DeleteRepository", "mirror/app"): "implicitDeny",
        ("ecr:DeleteRepository", "app"): "implicitDeny",
    }
    assert set(decisions("999999999999").values()) == {"implicitDeny"}
