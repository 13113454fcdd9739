"""The lines that `pullahead validate` writes for samconfig.toml, read by SAM CLI's own parser."""

import json
import subprocess
import tomllib

import pytest

from pullahead.rules.parameters import Parameter
from tests.e2e.sam_project import SAM

PARAMETERS = (
    Parameter("TargetRepositories", "team/*"),
    Parameter("CheckSchedule", "rate(1 minute)"),
    Parameter("UpstreamSecrets", "arn:aws:secretsmanager:*:*:secret:a-??????,arn:aws:secretsmanager:*:*:secret:b/*"),
    Parameter("OnDemandPrefix", "mirror/hub/"),
)
READ = """
import json, sys
from samcli.cli.types import CfnParameterOverridesType
print(json.dumps(CfnParameterOverridesType().convert(json.load(sys.stdin), None, None)))
"""


@pytest.mark.sam
@pytest.mark.skipif(not SAM.exists(), reason="the SAM CLI is not in .venv-sam (make setup)")
def test_sam_reads_the_parameters_as_they_are_meant() -> None:
    items = tomllib.loads(f"items = [{', '.join(parameter.override for parameter in PARAMETERS)}]")["items"]
    python = SAM.with_name("python")
    ran = subprocess.run([python, "-c", READ], input=json.dumps(items), capture_output=True, text=True, check=True)
    assert json.loads(ran.stdout) == {parameter.name: parameter.value for parameter in PARAMETERS}
