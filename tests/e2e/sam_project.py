"""A clone of this repository that is deployed by the real `sam`, into the local AWS or elsewhere. Asserts nothing."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from botocore.exceptions import ClientError

from local.aws import ACCESS_KEY, REGION, SECRET_KEY
from local.aws.server import LocalAws
from pullahead.settings import OWN_RULES
from tests.architecture.source import ROOT

SAM = ROOT / ".venv-sam" / "bin" / "sam"
ENTER_ALONE = "\n" * 100
OWN_SAMCONFIG = "my-samconfig.toml"
PACKAGED = "packaged.yaml"
_DEPLOYED = ("functions", "layers", "statemachines", "template.yaml", "samconfig.toml", "LICENSE", "README.md")
_ENOUGH_SECONDS = 400


class Printed(NamedTuple):
    """The output of a command, and its exit code."""

    status: int
    text: str

    def changes(self) -> dict[str, str]:
        """What the change set does to each resource: + Add, * Modify, - Delete. Long names are cut short."""
        table = self.text.partition("CloudFormation stack changeset")[2].partition("Changeset created")[0]
        return {name: action for action, name in re.findall(r"^([+*-] \w+) +(\S+)", table, re.MULTILINE)}


class SamProject:
    """A folder with all that is deployed, and the commands of README, in an environment that says where to deploy."""

    def __init__(self, folder: Path, environment: Mapping[str, str], limit_seconds: float = _ENOUGH_SECONDS) -> None:
        self.folder, self._environment, self._limit_seconds = folder, environment, limit_seconds

    @classmethod
    def cloned(
        cls, folder: Path, environment: Mapping[str, str], limit_seconds: float = _ENOUGH_SECONDS
    ) -> "SamProject":
        """Copy what is deployed out of this repository."""
        folder.mkdir()
        for name in _DEPLOYED:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__", OWN_RULES))
            else:
                shutil.copy(source, folder / name)
        return cls(folder, environment, limit_seconds)

    def copied(self, folder: Path) -> "SamProject":
        """Copy the folder with what was built and set in it."""
        shutil.copytree(self.folder, folder)
        return SamProject(folder, self._environment, self._limit_seconds)

    def packaged(self, folder: Path) -> "SamProject":
        """Upload what was built, and make a folder that deploys it without compressing it at each deployment."""
        folder.mkdir()
        shutil.copy(self.folder / "samconfig.toml", folder)
        where = ("--resolve-s3", "--s3-prefix", "pullahead")  # as in samconfig.toml
        done = self.sam("package", *where, "--output-template-file", str(folder / PACKAGED))
        if done.status != 0:
            raise RuntimeError(f"sam package failed: {done.text}")
        return SamProject(folder, self._environment, self._limit_seconds)

    def build(self) -> Printed:
        """Run `sam build`."""
        return self.sam("build")

    def deploy(self, *arguments: str) -> Printed:
        """Run `sam deploy` without a terminal."""
        return self.sam("deploy", *arguments)

    def sam(self, *arguments: str, typed: str = "") -> Printed:
        """Run the SAM CLI and wait. A deployment takes own settings and what is packaged, if there are any."""
        given = (("--config-file", OWN_SAMCONFIG), ("--template-file", PACKAGED)) if arguments[0] == "deploy" else ()
        options = (word for option in given if (self.folder / option[1]).exists() for word in option)
        done = subprocess.run(
            [str(SAM), *arguments, *options],
            cwd=self.folder,
            env=dict(self._environment),
            input=typed,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=self._limit_seconds,
            check=False,
        )
        return Printed(done.returncode, done.stdout)

    def write_rules(self, text: str) -> None:
        """Write the user's own rules file."""
        (self.folder / "layers" / "rules" / OWN_RULES).write_text(text, encoding="utf-8")

    def copy_samconfig(self) -> Path:
        """Make the user's own settings, as samconfig.toml says to."""
        return Path(shutil.copy(self.folder / "samconfig.toml", self.folder / OWN_SAMCONFIG))

    def set_parameters(self, **values: str) -> None:
        """Write parameters into the user's own settings."""
        path = self.copy_samconfig()
        head, opening, _ = path.read_text(encoding="utf-8").partition("parameter_overrides = [\n")
        lines = "".join(f"  '{name}={_quoted(value)}',\n" for name, value in values.items())
        path.write_text(f"{head}{opening}{lines}]\n", encoding="utf-8")


def local_environment(aws: LocalAws, home: Path) -> dict[str, str]:
    """The environment of a terminal that deploys into the local AWS, for what this machine can run."""
    home.mkdir()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "SAM_", "PYTHON"))}
    return {
        **kept,
        "HOME": str(home),
        "AWS_ENDPOINT_URL": aws.url,
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_DEFAULT_REGION": REGION,
        "SAM_CLI_TELEMETRY": "0",
        "SAM_CLI_POLL_DELAY": "0.2",  # seconds; five by default
        "PULLAHEAD_BUILD_PLATFORM": "host",
        "PYTHON": sys.executable,
        "PYTHONPYCACHEPREFIX": str(ROOT / ".build" / "pycache"),  # none beside the code, which is packaged
    }


class DeployedStack:
    """A stack as its operator sees it."""

    def __init__(self, aws: LocalAws, name: str) -> None:
        self.aws, self.name = aws, name

    def exists(self) -> bool:
        """Tell whether there is such a stack."""
        try:
            self.aws.client("cloudformation").describe_stacks(StackName=self.name)
        except ClientError as error:
            if "does not exist" in str(error):
                return False
            raise
        return True

    def status(self) -> str:
        """Return the stack's status."""
        return str(self._described()["StackStatus"])

    def outputs(self) -> dict[str, str]:
        """Return the outputs."""
        return {each["OutputKey"]: each["OutputValue"] for each in self._described()["Outputs"]}

    def resources(self) -> dict[str, str]:
        """Map logical to physical ids."""
        found = self.aws.client("cloudformation").describe_stack_resources(StackName=self.name)["StackResources"]
        return {each["LogicalResourceId"]: each["PhysicalResourceId"] for each in found}

    def invoke(self, function: str, event: Mapping[str, Any] | None = None) -> Any:
        """Run a function, named as in the template, and return what it answers."""
        answer = self.aws.client("lambda").invoke(
            FunctionName=self.resources()[function], Payload=json.dumps(event or {}).encode()
        )
        payload = json.loads(answer["Payload"].read())
        if "FunctionError" in answer:
            raise RuntimeError(f"{function} failed: {payload}")
        return payload

    def check_all(self) -> None:
        """Send what is due for checking, and wait for what follows."""
        self.invoke("ScheduleChecksFunction")
        self.aws.wait_idle(180)

    def digest(self, repository: str, tag: str) -> str | None:
        """Return what ECR serves under a tag, None for nothing."""
        ecr = self.aws.client("ecr")
        try:
            found = ecr.describe_images(repositoryName=repository, imageIds=[{"imageTag": tag}])
        except (ecr.exceptions.RepositoryNotFoundException, ecr.exceptions.ImageNotFoundException):
            return None
        return str(found["imageDetails"][0]["imageDigest"])

    def _described(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.aws.client("cloudformation").describe_stacks(StackName=self.name)["Stacks"][0]
        return found


def _quoted(value: str) -> str:
    return value or '""'
