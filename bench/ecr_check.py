"""Counts what one `pullahead check` of unchanged tags asks of upstream and of ECR: the strict local one, in here."""

from collections import Counter

from bench.cases import tagged_images
from bench.copies import Stage
from bench.homes import fresh_home
from bench.measure import CommandFailedError, run_measured
from bench.results import CallsResult
from bench.tags import REPOSITORY, tags_registry
from bench.tools import Mirroring, Tool
from local.aws import ACCESS_KEY, REGION, SECRET_KEY
from local.aws.server import LocalAws


def count_calls(tags: int, ours: Tool, stage: Stage) -> CallsResult:
    """Mirror so many tags into ECR by the rules, and check them once."""
    stage.say(f"ecr check: {tags} unchanged tags in ECR")
    images = tagged_images(tags, stage.seed)
    with (
        tags_registry(images, stage, "source", count=True) as source,
        LocalAws(stage.folder / "aws") as aws,
        fresh_home(stage.folder) as home,
    ):
        environment = {
            **home,
            "AWS_ENDPOINT_URL": aws.url,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_DEFAULT_REGION": REGION,
        }

        def run(*, only_compare: bool) -> None:
            names = f"{source.host}/{REPOSITORY}", f"/mirror/{REPOSITORY}"
            command = ours.mirror(Mirroring(*names, tuple(images), stage.folder, only_compare))
            run_measured(command, stage.folder / "cost.txt", environment)

        try:
            run(only_compare=False)
            before = source.requests_seen()
            aws.ecr.calls.clear()
            run(only_compare=True)
        except CommandFailedError as error:
            stage.say(f"  {error}")
            return CallsResult(tags, problem=str(error))
        upstream = source.requests_seen() - before
        ecr = Counter(aws.ecr.calls.operations())
    stage.say(f"  upstream: {dict(upstream)}; ECR: {dict(ecr)}")
    return CallsResult(tags, dict(upstream), dict(ecr))
