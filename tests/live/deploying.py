"""Deploys the stack of a run by the real `sam build` and `sam deploy`, as README does, and reads what was made."""

import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from tests.e2e.sam_project import SAM, Printed, SamProject
from tests.live.facts.stack import rules
from tests.live.naming import TAG
from tests.live.site import DeployedStack, Site

Deploy = Callable[[Site], DeployedStack]

_LIMIT_SECONDS: Final = 1800.0
_SHOWN_LINES: Final = 40
_SHARED_BUCKET: Final = "resolve_s3 = true\n"  # SAM's own for all stacks of the account, which would stay


class NotDeployedError(Exception):
    """The stack was not built or deployed; the message has the end of what `sam` printed."""


def sam_version() -> str:
    """Ask for the version of the SAM CLI.

    Raises:
        NotDeployedError: it is not there.
    """
    if not SAM.exists():
        raise NotDeployedError("the SAM CLI is not in .venv-sam: run `make setup`")
    printed = subprocess.run([str(SAM), "--version"], capture_output=True, text=True, timeout=60, check=True)
    return printed.stdout.strip()


def deploy_by_sam(site: Site) -> DeployedStack:
    """Build and deploy.

    Raises:
        NotDeployedError: `sam` failed, or is not there.
    """
    if not SAM.exists():
        raise NotDeployedError("the SAM CLI is not in .venv-sam: run `make setup`")
    with tempfile.TemporaryDirectory(prefix="pullahead-live-sam-") as folder:
        project = SamProject.cloned(Path(folder) / "clone", environment_of_sam(site), _LIMIT_SECONDS)
        project.write_rules(rules(site))
        _use_own_bucket(project.folder / "samconfig.toml", site.bucket)
        project.set_parameters(**parameters_of(site))
        name = site.run.name
        try:
            _done("sam build", project.build())
            _done("sam deploy", project.deploy("--stack-name", name, "--tags", f"{TAG}={name}"))
        except subprocess.TimeoutExpired as error:
            raise NotDeployedError(f"{' '.join(error.cmd)} is not done after {error.timeout:.0f} s") from error
    return read_stack(site)


def parameters_of(site: Site) -> dict[str, str]:
    """Choose parameters so that the stack reaches nothing but what the run made, and leaves little behind."""
    return {
        "TargetRepositories": f"{site.run.name}/*",
        "PullThroughCacheRepositories": f"{site.run.cache_prefix}/*",
        "UpstreamRepositories": f"{site.run.name}/*",
        "CheckSchedule": '"rate(1 day)"',  # the run says when to check
        "MaxConcurrentRefreshes": "1",  # also where the quota of concurrent functions is 10
        "LogRetentionDays": "1",
    }


def environment_of_sam(site: Site) -> Mapping[str, str]:
    """The environment of `sam`; the layer is built by this Python's pip."""
    return {**site.account.environment(), "SAM_CLI_TELEMETRY": "0", "PYTHON": sys.executable}


def read_stack(site: Site) -> DeployedStack:
    """Read outputs and resources."""
    cloudformation, name = site.account.client("cloudformation"), site.run.name
    (stack,) = cloudformation.describe_stacks(StackName=name)["Stacks"]
    resources = {
        each["LogicalResourceId"]: each["PhysicalResourceId"]
        for page in cloudformation.get_paginator("list_stack_resources").paginate(StackName=name)
        for each in page["StackResourceSummaries"]
    }
    return DeployedStack({each["OutputKey"]: each["OutputValue"] for each in stack["Outputs"]}, resources)


def _use_own_bucket(samconfig: Path, bucket: str) -> None:
    text = samconfig.read_text(encoding="utf-8")
    if text.count(_SHARED_BUCKET) != 1:
        raise NotDeployedError(
            f"samconfig.toml has not the line {_SHARED_BUCKET.strip()}, in whose place the bucket goes"
        )
    samconfig.write_text(text.replace(_SHARED_BUCKET, f's3_bucket = "{bucket}"\n'), encoding="utf-8")


def _done(command: str, printed: Printed) -> None:
    if printed.status != 0:
        end = "\n".join(printed.text.splitlines()[-_SHOWN_LINES:])
        raise NotDeployedError(f"{command} failed with {printed.status}:\n{end}")
