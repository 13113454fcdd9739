"""Upstream credentials from Secrets Manager, STS and ECR (moto), and from their errors."""

import base64
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError, NoCredentialsError
from botocore.stub import Stubber

from pullahead.aws.assumed_roles import Clients, RoleKeys
from pullahead.aws.upstream_credentials import UpstreamCredentials
from pullahead.errors import AccessDeniedError, RegistryError, RegistryUnavailableError
from pullahead.oci import Repository
from pullahead.registry.credentials import Credential
from pullahead.rules.model import CredentialSource, UpstreamSettings
from tests.contract.local_services import client, moto_server, new_name
from tests.unit.registry.harness import SECRET, FakeTime

QUAY = Repository("quay.io", "team/app")
ROLE = "arn:aws:iam::210987654321:role/pull"
ECR_HOST = "210987654321.dkr.ecr.us-east-1.amazonaws.com"
ECR = Repository(ECR_HOST, "team/app")


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    with moto_server() as url:
        yield url


class Aws:
    """Makes clients, and remembers for which Region and as whom."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.made: list[tuple[str, str | None, RoleKeys | None]] = []
        self.prepared: dict[str, Any] = {}

    def make(self, service: str, region: str | None, keys: RoleKeys | None) -> Any:
        self.made.append((service, region, keys))
        return self.prepared.get(service) or client(self.url, service)

    def refuse(self, service: str, operation: str, code: str, status: int = 400) -> None:
        """Let an operation fail as AWS does."""
        made = client(self.url, service)
        stub = Stubber(made)
        stub.add_client_error(operation, code, f"told by AWS of {SECRET}", http_status_code=status)
        stub.activate()
        self.prepared[service] = made

    def grant(self, time: FakeTime, *tokens: str) -> None:
        """Let ECR give out these tokens, each good for twelve hours from now."""
        made = client(self.url, "ecr")
        stub = Stubber(made)
        expires = datetime.fromtimestamp(time.now, UTC) + timedelta(hours=12)
        for token in tokens:
            encoded = base64.b64encode(f"AWS:{token}".encode()).decode()
            data = [{"authorizationToken": encoded, "expiresAt": expires}]
            stub.add_response("get_authorization_token", {"authorizationData": data})
        stub.activate()
        self.prepared["ecr"] = made

    def break_down(self, service: str, error: Exception) -> None:
        """Let every call of a service raise this."""
        made = client(self.url, service)

        def fail(**_: object) -> None:
            raise error

        made.meta.events.register("before-call", fail)
        self.prepared[service] = made


@pytest.fixture
def aws(moto: str) -> Aws:
    return Aws(moto)


@pytest.fixture
def time() -> FakeTime:
    return FakeTime(now=datetime.now(UTC).timestamp())


Make = Callable[..., UpstreamCredentials]


@pytest.fixture
def made(aws: Aws, time: FakeTime) -> Make:
    """Make the use of some credential sources, for every host."""

    def make(*sources: CredentialSource) -> UpstreamCredentials:
        settings = lambda host: UpstreamSettings(host, credentials=sources)  # noqa: E731
        return UpstreamCredentials(settings, Clients(aws.make, time), time)

    return make


def test_no_secret_is_read_for_a_repository_that_may_use_none(moto: str) -> None:
    aws, time = Aws(moto), FakeTime()
    hosts = {QUAY.registry: CredentialSource("nowhere"), ECR_HOST: CredentialSource("", role=ROLE)}
    find = UpstreamCredentials(
        lambda host: UpstreamSettings(host, credentials=(hosts[host],)), Clients(aws.make, time), time, lambda _: False
    )
    assert (find(QUAY), find(ECR)) == (None, None)
    assert aws.made == []


def stored(aws: Aws, text: str | bytes) -> str:
    """Keep a secret, and name it."""
    name = new_name("secret")
    kind = "SecretString" if isinstance(text, str) else "SecretBinary"
    client(aws.url, "secretsmanager").create_secret(Name=name, **{kind: text})
    return name


def account(name: str, secret: str = SECRET) -> str:
    return json.dumps({"username": name, "accessToken": secret})


def replace(aws: Aws, name: str, text: str) -> None:
    client(aws.url, "secretsmanager").put_secret_value(SecretId=name, SecretString=text)


class TestSecrets:
    def test_host_without_credentials_makes_no_call(self, aws: Aws, made: Make) -> None:
        assert made()(QUAY) is None
        assert made()(Repository("public.ecr.aws", "nginx/nginx")) is None
        assert aws.made == []

    def test_path_selects_the_credential(self, aws: Aws, made: Make) -> None:
        team, others = stored(aws, account("team")), stored(aws, account("others"))
        credentials = made(CredentialSource(team, "team/*"), CredentialSource(others))
        assert credentials(QUAY) == Credential("team", SECRET)
        assert credentials(Repository("quay.io", "elsewhere/app")) == Credential("others", SECRET)
        assert made(CredentialSource(team, "team/*"))(Repository("quay.io", "elsewhere/app")) is None

    @pytest.mark.parametrize("text", [account("robot").encode(), f"robot:{SECRET}"])
    def test_every_secret_format_is_read(self, aws: Aws, made: Make, text: str | bytes) -> None:
        assert made(CredentialSource(stored(aws, text)))(QUAY) == Credential("robot", SECRET)

    def test_secret_is_read_in_the_region_of_its_arn(self, aws: Aws, made: Make) -> None:
        arn = "arn:aws:secretsmanager:us-west-2:123456789012:secret:elsewhere-AbCdEf"
        with pytest.raises(AccessDeniedError, match="the secret does not exist"):
            made(CredentialSource(arn))(QUAY)
        assert [(service, region) for service, region, _ in aws.made] == [("secretsmanager", "us-west-2")]

    def test_rotated_secret_is_read_after_five_minutes(self, aws: Aws, made: Make, time: FakeTime) -> None:
        name = stored(aws, account("robot", "old"))
        credentials = made(CredentialSource(name))
        old = credentials(QUAY)
        replace(aws, name, account("robot", "new"))
        assert credentials(QUAY) == old
        time.now += 300
        assert credentials(QUAY) == Credential("robot", "new")

    def test_refused_credential_is_read_again_after_a_minute(self, aws: Aws, made: Make, time: FakeTime) -> None:
        name = stored(aws, account("robot", "old"))
        credentials = made(CredentialSource(name))
        old = credentials(QUAY)
        assert old is not None
        replace(aws, name, account("robot", "new"))
        time.now += 60
        credentials.refused(QUAY, old)
        assert credentials(QUAY) == Credential("robot", "new")

    def test_secret_is_in_no_representation(self, aws: Aws, made: Make) -> None:
        credentials = made(CredentialSource(stored(aws, account("robot"))))
        found = credentials(QUAY)
        keys = RoleKeys("AKIA", SECRET, SECRET)
        for shown in (repr(found), repr(credentials), repr(vars(credentials)), repr(keys), str(found)):
            assert SECRET not in shown


class TestTroubleWithSecrets:
    @pytest.mark.parametrize("text", [SECRET, json.dumps({"token": SECRET}), b"\xff" + SECRET.encode()])
    def test_malformed_secret_is_refused_and_not_quoted(self, aws: Aws, made: Make, text: str | bytes) -> None:
        name = stored(aws, text)
        with pytest.raises(AccessDeniedError, match=f"the secret {name} for quay.io: it.*accessToken") as caught:
            made(CredentialSource(name))(QUAY)
        assert SECRET not in str(caught.value)
        assert caught.value.__suppress_context__

    def test_missing_secret_is_named(self, made: Make) -> None:
        with pytest.raises(
            AccessDeniedError, match=r"the secret nobody/made-it for quay\.io: the secret does not exist"
        ):
            made(CredentialSource("nobody/made-it"))(QUAY)

    @pytest.mark.parametrize(
        ("code", "advice"),
        [
            ("AccessDeniedException", "UpstreamSecrets"),
            ("DecryptionFailure", "UpstreamSecretsKeyArn"),
            ("InvalidRequestException", "Restore it"),
            ("ValidationException", "Correct its name"),
            ("NobodyKnowsException", "NobodyKnowsException"),
        ],
    )
    def test_refusal_says_what_to_do(self, aws: Aws, made: Make, code: str, advice: str) -> None:
        aws.refuse("secretsmanager", "get_secret_value", code)
        with pytest.raises(AccessDeniedError, match=advice) as caught:
            made(CredentialSource("team/quay"))(QUAY)
        assert "team/quay" in str(caught.value)
        assert SECRET not in str(caught.value)

    @pytest.mark.parametrize(("code", "status"), [("ThrottlingException", 400), ("InternalServiceError", 500)])
    def test_transient_error_is_unavailable_and_not_refused(self, aws: Aws, made: Make, code: str, status: int) -> None:
        aws.refuse("secretsmanager", "get_secret_value", code, status)
        with pytest.raises(RegistryUnavailableError, match=code):
            made(CredentialSource("team/quay"))(QUAY)

    @pytest.mark.parametrize(
        ("error", "kind"),
        [
            (EndpointConnectionError(endpoint_url="https://x"), RegistryUnavailableError),
            (NoCredentialsError(), AccessDeniedError),
        ],
    )
    def test_unreachable_aws_is_unavailable_and_missing_credentials_are_denied(
        self, aws: Aws, made: Make, error: Exception, kind: type[RegistryError]
    ) -> None:
        aws.break_down("secretsmanager", error)
        with pytest.raises(kind, match=type(error).__name__):
            made(CredentialSource("team/quay"))(QUAY)

    def test_role_without_a_secret_is_refused_for_other_registries(self, aws: Aws, made: Make) -> None:
        with pytest.raises(AccessDeniedError, match=r"no secret for quay\.io"):
            made(CredentialSource("", role=ROLE))(QUAY)
        assert aws.made == []


class TestEcr:
    def test_token_is_requested_in_the_region_of_the_registry(self, aws: Aws, made: Make, time: FakeTime) -> None:
        aws.grant(time, "token")
        found = made()(ECR)
        assert found is not None
        assert found.username == "AWS"
        assert aws.made == [("ecr", "us-east-1", None)]

    def test_role_is_assumed_for_the_token(self, aws: Aws, made: Make, time: FakeTime) -> None:
        aws.grant(time, "token")
        found = made(CredentialSource("", role=ROLE))(ECR)
        assert found is not None
        assert found.username == "AWS"
        (sts, ecr) = aws.made
        assert sts[0] == "sts"
        assert ecr[:2] == ("ecr", "us-east-1")
        assert ecr[2] is not None

    def test_role_is_used_until_its_keys_expire(self, aws: Aws, time: FakeTime) -> None:
        clients = Clients(aws.make, time)
        first = clients.of("ecr", "us-east-1", ROLE)
        time.now += 3600 - 300 - 100
        assert clients.of("ecr", "us-east-1", ROLE) is first
        time.now += 200
        assert clients.of("ecr", "us-east-1", ROLE) is not first
        assert [service for service, _, _ in aws.made] == ["sts", "ecr", "sts", "ecr"]

    def test_token_is_used_until_it_expires(self, aws: Aws, made: Make, time: FakeTime) -> None:
        aws.grant(time, "first", "second")
        credentials = made()
        time.now += 12 * 3600 - 301
        assert [credentials(ECR), credentials(ECR)] == [Credential("AWS", "first")] * 2
        time.now += 2
        assert credentials(ECR) == Credential("AWS", "second")

    def test_role_that_may_not_be_assumed_is_named(self, aws: Aws, made: Make) -> None:
        aws.refuse("sts", "assume_role", "AccessDenied", 403)
        with pytest.raises(AccessDeniedError, match=rf"assume {ROLE} .*UpstreamRoles"):
            made(CredentialSource("", role=ROLE))(ECR)
        aws.refuse("sts", "assume_role", "AccessDenied", 403)
        with pytest.raises(AccessDeniedError, match=rf"the secret a for quay\.io: .*assume {ROLE} "):
            made(CredentialSource("a", role=ROLE))(QUAY)

    def test_refused_token_is_access_denied(self, aws: Aws, made: Make) -> None:
        aws.refuse("ecr", "get_authorization_token", "AccessDeniedException")
        with pytest.raises(
            AccessDeniedError, match=rf"refuses a token for {ECR_HOST} to Pullahead itself .*UpstreamRoles"
        ):
            made()(ECR)

    def test_transient_error_of_ecr_is_unavailable_and_not_refused(self, aws: Aws, made: Make) -> None:
        aws.refuse("ecr", "get_authorization_token", "ServerException", 500)
        with pytest.raises(RegistryUnavailableError, match="ServerException"):
            made()(ECR)

    def test_secret_is_used_for_ecr_where_the_rules_name_one(self, aws: Aws, made: Make) -> None:
        credentials = made(CredentialSource(stored(aws, account("AWS"))))
        assert credentials(ECR) == Credential("AWS", SECRET)
