"""Runs every use case of the deployed functions, to record which calls they make. Asserts nothing.

The plays need not go well in every detail; a permission that none of them uses is found by the test that judges them.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from importlib.resources import files
from pathlib import Path
from typing import Final, NamedTuple

from local import artifacts
from local.aws.server import LocalAws
from local.deploy import Stack, deploy
from local.ecr.faults import Call
from local.images import LocalImage, SparseBlob, make_image
from local.registry import FakeRegistry
from pullahead.aws.records import DynamoRecords
from pullahead.dashboard.show import MAX_LISTED
from pullahead.messages import CheckRequest, StartWaitingRequest
from pullahead.mirrors.missing import Missing, PruneReason
from pullahead.mirrors.outbox import with_outcome_events
from pullahead.mirrors.record import LastRefresh
from pullahead.mirrors.record_scan import RecordScan, ScanState
from pullahead.oci.referrers import fallback_tag
from pullahead.refresh.queue import SLOT_DURATION
from pullahead.rules.model import DEFAULT_CHECK_EVERY
from tests.polling import until
from tests.scenarios.calling import Caller
from tests.scenarios.deployment import CHECK_EVERY, PULLS, TAG, TEMPLATE, WEBHOOKS, Deployment, MirrorRule, deployed
from tests.scenarios.other_region import HOST, other_region
from tests.scenarios.pulling import puller_of
from tests.scenarios.scene import PART_BYTES, Scene

RULES_BUCKET: Final = "team-rules"
RULES_NAME: Final = "/team/rules"
UPSTREAM_ROLE: Final = "arn:aws:iam::123456789012:role/upstream"
SIGNING_PROFILE: Final = "arn:aws:signer:eu-west-1:123456789012:/signing-profiles/images"
SECRETS_KEY: Final = "arn:aws:kms:eu-west-1:123456789012:key/upstream"
RECORDS_KEY: Final = "arn:aws:kms:eu-west-1:123456789012:key/records"
PARAMETERS: Final = {
    "RulesUri": f"s3://{RULES_BUCKET}/rules/",
    "UpstreamRoles": UPSTREAM_ROLE,
    "UpstreamRepositories": "team/*",
    "SigningProfiles": SIGNING_PROFILE,
    "TrustRootUri": f"s3://{RULES_BUCKET}/trust/trusted_root.json",
    "SignatureKeys": "arn:aws:kms:eu-west-1:123456789012:key/*",
    "UpstreamSecretsKeyArn": SECRETS_KEY,
    "RecordsKeyArn": RECORDS_KEY,
    "VpcSubnetIds": "subnet-1,subnet-2",
    "VpcSecurityGroupIds": "sg-1",
    "MaxConcurrentRefreshes": "1",  # so that some wait
    **WEBHOOKS,
    **PULLS,
}
"""Everything that may be wanted of the template, so that every statement is there."""

_SECRETS: Final = ("ecr-pullthroughcache/own", "ecr-pullthroughcache/others")
_LIFECYCLE: Final = {
    "rules": [
        {
            "rulePriority": 1,
            "selection": {"tagStatus": "untagged", "countType": "imageCountMoreThan", "countNumber": 100},
            "action": {"type": "expire"},
        }
    ]
}
_VERIFY: Final = (
    "    admit: {mode: report, verify: {any: [{key: alias/cosign},"
    " {keyless: {issuer: 'https://issuer.example', identity: 'build@team.example'}}]}}\n"
)
"""Whose signatures are looked at, of images that are published in any case."""
_OTHER_TAG: Final = "2.0"
_SMALL, _OTHER, _CACHED = (make_image([20_000], seed=number) for number in (1, 2, 8))
_HOURS: Final = timedelta(hours=7)  # longer than a blocked mirror waits
_MONTHS: Final = timedelta(days=62).total_seconds()


class Played(NamedTuple):
    """The two stacks, in one local AWS, after the plays."""

    deployment: Deployment
    other: Stack


@contextmanager
def played(folder: Path) -> Iterator[Played]:
    """Deploy the template with everything in it and play; and once more, with the rules in a parameter of SSM."""
    with (
        deployed(folder, lambda _: None, **PARAMETERS) as deployment,
        FakeRegistry(deployment.upstream_port) as upstream,
    ):
        _prepare(deployment.aws)
        for name in ("ReviewRecords", "VerifyImage", "PruneTags"):
            _invoke(deployment.aws, deployment.function(name))  # before the schedule has run once
        _send_failing_pull(Scene(deployment, deployment.next_mirror(), upstream))
        plays = (
            _copy_by_the_layers_rules,
            _break,
            _copy_by_rules_in_s3,
            _hold,
            _copy_from_other_region,
            _fetch_what_is_pulled,
            _prune,
        )
        for play in plays:
            play(Scene(deployment, deployment.next_mirror(), upstream))
            if aside := deployment.dead_letters():
                raise RuntimeError(
                    f"{play.__name__}: checks failed: {aside} {deployment.runs('CheckFreshness')[-1].logs}"
                )
        _send_invalid_message(Scene(deployment, deployment.next_mirror(), upstream))
        _show_mirrors(deployment)
        other = deploy(deployment.aws, TEMPLATE, "other", {**PARAMETERS, "RulesUri": f"ssm:{RULES_NAME}"})
        _invoke(deployment.aws, other.resources["ScheduleChecksFunction"])
        yield Played(deployment, other)


def _show_mirrors(deployment: Deployment) -> None:
    """Draw the page of all mirrors, and that of a deployment with too many to read all."""
    _invoke(deployment.aws, deployment.function("ShowMirrors"))
    records = DynamoRecords(deployment.aws.client("dynamodb"), deployment.stack.outputs["RecordsTableName"])
    now = deployment.aws.clock.now()
    records.save_scan_state(ScanState(last=RecordScan(now, ended_at=now, records=MAX_LISTED + 1)))
    _invoke(deployment.aws, deployment.function("ShowMirrors"))


def _send_invalid_message(scene: Scene) -> None:
    """Send an invalid message, which goes to the dead-letter queue."""
    scene.send("{")
    scene.settle()
    if scene.deployment.dead_letters() != ["{"]:
        raise RuntimeError("invalid message did not reach the dead-letter queue")


def _send_failing_pull(scene: Scene) -> None:
    """Pull while there are no valid rules, until the pull is in the dead-letter queue."""
    with scene.deployment.rules("version: 2\n", "NoticePulls"):
        puller_of(scene).fails("library/app")
    if not scene.deployment.dead_letters("Pulls"):
        raise RuntimeError("the pull did not reach the dead-letter queue")


def _prepare(aws: LocalAws) -> None:
    key = aws.client("kms").create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")["KeyMetadata"]["KeyId"]
    aws.client("kms").create_alias(AliasName="alias/cosign", TargetKeyId=key)
    aws.client("s3").create_bucket(
        Bucket=RULES_BUCKET, CreateBucketConfiguration={"LocationConstraint": aws.client("s3").meta.region_name}
    )
    trust_root = files("pullahead.admission.signatures").joinpath("trusted_root.json").read_bytes()
    aws.client("s3").put_object(Bucket=RULES_BUCKET, Key="trust/trusted_root.json", Body=trust_root)
    aws.client("ssm").put_parameter(Name=RULES_NAME, Value="version: 1\nmirrors: []\n", Type="String")
    for name in _SECRETS:
        account = json.dumps({"username": "robot", "accessToken": "s3cr3t"})
        aws.client("secretsmanager").create_secret(Name=name, SecretString=account)
    aws.client("ecr").put_signing_configuration(
        signingConfiguration={"rules": [{"signingProfileArn": SIGNING_PROFILE}]}  # of every repository
    )
    for prefix in ("mirror", "quay"):
        aws.client("ecr").create_repository_creation_template(
            prefix=prefix,
            appliedFor=["PULL_THROUGH_CACHE"],
            resourceTags=[{"Key": "team", "Value": "platform"}],
            lifecyclePolicy=json.dumps(_LIFECYCLE),
            repositoryPolicy='{"Version": "2012-10-17", "Statement": []}',
        )


def _copy_by_the_layers_rules(scene: Scene) -> None:
    """Copy before the schedule has run once, and let ECR mount a layer of which another mirror has sent the same."""
    scene.aws.client("ecr").put_account_setting(name="BLOB_MOUNTING", value="ENABLED")
    layer = SparseBlob(3_000_000, seed=3)
    scene.serve(make_image([layer, 1_000], seed=4))
    scene.upstream.before("GET", "/blobs/", lambda: _outlive_the_slot(scene), times=1)
    scene.check()
    _call(scene)
    puller_of(scene).fails("library/app")  # no rule answers
    again = Scene(scene.deployment, scene.deployment.next_mirror(), scene.upstream)
    again.serve(make_image([layer, 2_000], seed=5))
    again.check()


def _outlive_the_slot(scene: Scene) -> None:
    """Let the time of a refresh's slot end while it runs: a look at the line renews it."""
    scene.aws.clock.advance(SLOT_DURATION.total_seconds())
    scene.send(StartWaitingRequest().to_json())
    until(lambda: any('"fill' in str(run.event) for run in scene.runs("CheckFreshness")), "the line is looked at")


def _fetch_what_is_pulled(scene: Scene) -> None:
    """Pull what is not there yet."""
    puller, image = puller_of(scene), make_image([20_000], seed=12)
    scene.upstream.push(image, "library/app", TAG)
    _follow(scene, puller.rules())
    scene.aws.clock.advance(60)  # who has read other rules reads these
    puller.fails("library/app")
    puller.has("library/app", image)
    by_digest = make_image([10_000], seed=13)
    scene.upstream.push(by_digest, "library/app", f"{TAG}-other")
    puller.fails("library/app", by_digest.digest)
    _follow(scene, puller.rules(limit=1))
    scene.aws.clock.advance(60)
    puller.fails("library/another")  # the limit of the day is reached, which is alerted
    scene.fire_schedule()
    scene.aws.clock.advance(_MONTHS)
    scene.fire_schedule()  # nobody has pulled for so long that it is no longer followed


def _prune(scene: Scene) -> None:
    """Prune one of two tags, with the SBOM that refers to it, as if it had been missing for long."""
    images = dict(zip((TAG, _OTHER_TAG), (make_image([5_000], seed=number) for number in (14, 15)), strict=True))
    for tag, image in images.items():
        scene.upstream.push(image, scene.mirror.path, tag)
    _sign(scene, images[TAG], scene.mirror.path, "key-1")
    chosen = scene.mirror.yaml().replace(f'tags: ["{TAG}"]', 'tags: ["[0-9]*"]')
    rules = f"version: 1\nmirrors:\n{chosen}    prune: {{gone: 7d, mode: delete, at_most: 50%}}\n"
    plain = f"upstreams: {{'{scene.mirror.host}': {{plain_http: true}}}}\n"
    _follow(scene, rules.replace("mirrors:", f"{plain}mirrors:"))
    scene.upstream.delete_tag(scene.mirror.path, TAG)
    scene.fire_schedule()
    scene.aws.clock.advance(timedelta(days=2).total_seconds())  # since when the listing is sound
    scene.fire_schedule()
    known, now = scene.record(), scene.aws.clock.now()
    missing = Missing(PruneReason.GONE, now - timedelta(days=60), 60, now - timedelta(days=1))
    table = scene.deployment.stack.outputs["RecordsTableName"]
    DynamoRecords(scene.aws.client("dynamodb"), table).save(known.with_changes(missing=missing), known.version)
    _invoke(scene.aws, scene.deployment.function("PruneTags"))
    scene.settle()
    left = scene.aws.client("ecr").list_images(repositoryName=scene.repository)["imageIds"]
    if any(each.get("imageTag") == TAG for each in left):
        raise RuntimeError(f"the tag was not pruned: {scene.runs('PruneTags')[-1].logs}")


def _call(scene: Scene) -> None:
    """Let upstream call by webhook."""
    caller = Caller(scene)
    caller.call(caller.payload(number=len(scene.aws.invocations)))
    caller.settle()


def _copy_by_rules_in_s3(scene: Scene) -> None:
    """Follow chosen tags, a pull through cache, and upstreams with accounts: our secret, and one that a role reads."""
    private = [scene.deployment.next_mirror() for _ in _SECRETS]
    with FakeRegistry() as own, FakeRegistry() as others:
        mirrors = [mirror._replace(host=host.host) for mirror, host in zip(private, (own, others), strict=True)]
        for mirror, host, seed in zip(mirrors, (own, others), (9, 10), strict=True):
            host.token_auth = True
            host.push(make_image([20_000], seed=seed), mirror.path, TAG)  # with layers of its own
        for tag in (TAG, _OTHER_TAG):
            scene.upstream.push(_SMALL, scene.mirror.path, tag)
        _sign(scene, _SMALL, scene.mirror.path, "key-1")
        cached = _cache(scene)
        _follow(scene, _rules(scene.mirror, *mirrors))
        scene.upstream.push(_CACHED, scene.mirror.path, "3.0")
        scene.fire_schedule(DEFAULT_CHECK_EVERY)  # it is mounted from the cache
        _let_the_cache_fail(scene)
        _call(scene)
        _sign(scene, _SMALL, scene.mirror.path, "key-1", "key-2")  # late, under the tags that have been copied
        _sign(scene, _CACHED, "team/app", "key-1", "key-2")
        scene.fire_schedule(DEFAULT_CHECK_EVERY)  # within which what the cache follows is due, too
        for repository in (scene.repository, cached):  # of several tags one is missing: ECR is asked for a listing
            scene.aws.client("ecr").batch_delete_image(repositoryName=repository, imageIds=[{"imageTag": TAG}])
            asked = CheckRequest("manual", repository, (TAG, _OTHER_TAG), scene.aws.clock.now())
            scene.send(asked.to_json())
            scene.settle()
    _follow(scene, "version: 1\nmirors: []\n")  # which is alerted
    _follow(scene, "version: 1\nmirrors: []\n")


def _sign(scene: Scene, image: LocalImage, path: str, *keys: str) -> None:
    """Let upstream keep an SBOM that refers to an image, and signatures by these keys under cosign's tag."""
    scene.upstream.referrers_page = 100
    scene.upstream.push(artifacts.sbom(image.root.descriptor), path)
    signature = artifacts.cosign2_signature(image.root.descriptor, *keys, certificate=False)
    scene.upstream.push(signature, path, f"{fallback_tag(image.digest)}.sig")


def _rules(chosen: MirrorRule, own: MirrorRule, others: MirrorRule) -> str:
    """Write rules; `tags` of the first mirror are chosen from a listing."""
    accounts = (f"{{secret: {_SECRETS[0]}}}", f"{{secret: {_SECRETS[1]}, role: {UPSTREAM_ROLE!r}}}")
    hosts = "".join(
        f"  {mirror.host}: {{plain_http: true, credentials: [{account}]}}\n"
        for mirror, account in zip((own, others), accounts, strict=True)
    )
    first = chosen.yaml().replace(f'tags: ["{TAG}"]', 'tags: [{semver: ">=1"}]')
    mirrors = "".join(f"{each}{_VERIFY}" for each in (first, own.yaml(), others.yaml()))
    paced = f"  {chosen.host}: {{plain_http: true, rate_limit: {{requests_per_second: 500}}}}\n"
    return f"version: 1\nupstreams:\n{paced}{hosts}mirrors:\n{mirrors}"


def _copy_from_other_region(scene: Scene) -> None:
    """Follow tags that are chosen from a listing of the account's ECR in another Region."""
    with other_region(scene) as region:
        region.create("team/elsewhere")
        image = make_image([20_000], seed=13)
        region.push(image, "team/elsewhere", TAG)
        signature = artifacts.cosign2_signature(image.root.descriptor, "key-1", certificate=False)
        region.push(signature, "team/elsewhere", f"{fallback_tag(image.digest)}.sig")
        mirror = MirrorRule(HOST, "team/elsewhere", scene.repository).yaml() + _VERIFY
        chosen = mirror.replace(f'tags: ["{TAG}"]', 'tags: [{semver: ">=1"}]')
        _follow(scene, f"version: 1\nupstreams:\n{region.upstreams}mirrors:\n{chosen}")
        scene.fire_schedule()  # late referrers are looked for
        region.replicate(scene.repository)  # which is remembered, for deletions
        region.create(scene.repository)
        region.push(_OTHER, scene.repository, TAG)
        scene.settle()


def _hold(scene: Scene) -> None:
    """Hold a digest until it is old enough, when a review queues a check, and scanned, which a check starts, too."""
    scene.ecr.faults.add("StartImageScan", "AccessDeniedException")  # at the publish
    scene.serve(_OTHER)
    admit = f"{scene.mirror.yaml()}    admit: {{min_age: 1h, scan: {{}}}}\n"
    _follow(scene, f"version: 1\nupstreams:\n  {scene.mirror.host}: {{plain_http: true}}\nmirrors:\n{admit}")
    scene.fire_schedule()  # a check starts the scan
    scene.aws.clock.advance(timedelta(hours=1).total_seconds())
    _invoke(scene.aws, scene.deployment.function("ReviewRecords"))
    scene.settle()


def _cache(scene: Scene) -> str:
    """Make a repository as ECR's pull through cache does, with tags that upstream has moved since."""
    scene.aws.client("ecr").create_pull_through_cache_rule(
        ecrRepositoryPrefix="quay", upstreamRegistryUrl=scene.mirror.host
    )
    repository = "quay/team/app"
    scene.upstream.push(_CACHED, "team/app", TAG)
    scene.upstream.push(_CACHED, "team/app", _OTHER_TAG)
    _sign(scene, _CACHED, "team/app", "key-1")
    scene.aws.client("ecr").create_repository(repositoryName=repository)
    cached = Scene(scene.deployment, scene.mirror._replace(repository=repository), scene.upstream)
    cached.push_by_hand(_OTHER)
    ecr = scene.aws.client("ecr")
    (image,) = ecr.batch_get_image(repositoryName=repository, imageIds=[{"imageTag": TAG}])["images"]
    ecr.put_image(repositoryName=repository, imageManifest=image["imageManifest"], imageTag=_OTHER_TAG)
    scene.settle()  # so that no function reads the rules while they are replaced
    return repository


def _let_the_cache_fail(scene: Scene) -> None:
    """Pull through the cache what ECR cannot fetch, from a missing repository."""
    scene.upstream.push(make_image([20_000], seed=11), "team/refused", TAG)
    scene.ecr.plays.not_cached("quay/team/refused", TAG, "UpstreamAccessDenied", "the credentials are refused")
    scene.settle()


def _follow(scene: Scene, rules: str) -> None:
    """Put rules where people keep them, and let the schedule fire."""
    scene.aws.client("s3").put_object(Bucket=RULES_BUCKET, Key="rules/rules.yaml", Body=rules)
    scene.fire_schedule()


def _break(scene: Scene) -> None:
    """Make ECR refuse streams, abort a refresh, let one fail, delete a tag upstream, make ECR refuse another image."""

    def abort(call: Call) -> None:
        for running in scene.executions()[:1] if call.repository == scene.repository else ():
            scene.aws.client("stepfunctions").stop_execution(executionArn=running["executionArn"])

    scene.ecr.faults.add("v2:StartUpload", "ServerException", times=20)
    scene.ecr.faults.before("CompleteLayerUpload", abort)
    scene.serve(make_image([SparseBlob(PART_BYTES + 1, seed=6)], seed=7))
    scene.check()
    scene.ecr.faults.clear()
    scene.check(_HOURS)  # finds that the refresh ended without a word, and starts it again
    scene.check(_HOURS)
    scene.serve(_SMALL)
    scene.ecr.faults.add("PutImage", "ServerException", times=200)
    scene.check(CHECK_EVERY)
    scene.ecr.faults.clear()
    scene.check(CHECK_EVERY)
    scene.upstream.delete_tag(scene.mirror.path, TAG)
    scene.check(CHECK_EVERY)
    scene.aws.client("ecr").put_image_tag_mutability(repositoryName=scene.repository, imageTagMutability="IMMUTABLE")
    scene.serve(_OTHER)
    scene.check(CHECK_EVERY)
    scene.check(_HOURS)
    _leave_event(scene)
    _invoke(scene.aws, scene.deployment.function("ReviewRecords"))  # which tells, and sends what was left


def _leave_event(scene: Scene) -> None:
    """Let an event be in the mirror's record whose writer did not live to send it."""
    known, hours_ago = scene.record(), scene.aws.clock.now() - _HOURS
    before = known.with_changes(last_refresh=None)
    refresh = LastRefresh(hours_ago, 1.0, 2.0, 3, "arn:aws:states:eu-west-1:123456789012:execution:refresh:lost")
    left = with_outcome_events(before, known.with_changes(last_refresh=refresh), "rule", hours_ago)
    table = scene.deployment.stack.outputs["RecordsTableName"]
    DynamoRecords(scene.aws.client("dynamodb"), table).save(left, known.version)


def _invoke(aws: LocalAws, function: str) -> None:
    answer = aws.client("lambda").invoke(FunctionName=function, Payload=b"{}")
    if "FunctionError" in answer:
        raise RuntimeError(f"{function}: {answer['Payload'].read()!r}")
