"""What `make local` prints when it is up: what to type to use the local AWS, each line as it is to be copied."""

import sys
from pathlib import Path
from typing import Final, NamedTuple

from local.aws import ACCESS_KEY, ACCOUNT_ID, REGION, SECRET_KEY
from local.aws.runtime_directory import REPOSITORY
from local.deploy import Stack
from local.live_rules import rules_text, shown_path
from pullahead.rules.model import Rules

_CONSOLE: Final = "console.aws"  # of an account that is not this one


class RulesInUse(NamedTuple):
    """The rules file that is in use, and its rules."""

    path: Path
    rules: Rules


def introduction(url: str, stack: Stack | None, deployed: RulesInUse | None, logins: Path) -> str:
    """Say what to type; `logins` is the file with the login to its registry."""
    registry = url.removeprefix("http://")
    content = "with the stack in it" if stack else "and empty"
    return f"""\
The local AWS (account {ACCOUNT_ID}) is up, {content}. Ctrl-C stops it and forgets everything.
{_about_rules(deployed)}
In another terminal:

  cd {REPOSITORY}
  unset AWS_PROFILE AWS_SESSION_TOKEN
  export AWS_ENDPOINT_URL={url} AWS_REGION={REGION} AWS_DEFAULT_REGION={REGION}
  export AWS_ACCESS_KEY_ID={ACCESS_KEY} AWS_SECRET_ACCESS_KEY={SECRET_KEY} AWS_PAGER=
  export REGISTRY_AUTH_FILE={logins}

  aws --endpoint-url {url} ecr describe-repositories
  aws --endpoint-url {url} ecr get-login-password | skopeo login --tls-verify=false -u AWS --password-stdin {registry}
{_stack_commands(registry, deployed) if stack else ""}
To deploy into it as into AWS (`make setup` gets the SAM CLI):

  export SAM_CLI_TELEMETRY=0 PATH="{REPOSITORY}/.venv-sam/bin:$PATH"
  export PULLAHEAD_BUILD_PLATFORM=host PYTHON={sys.executable}   # wheels that this machine can run; not for AWS
  sam build && sam deploy    # takes the rules in layers/rules
  sam deploy --parameter-overrides LogRetentionDays=7
  cp samconfig.toml my-samconfig.toml && sam deploy --guided --config-file my-samconfig.toml   # asks for each parameter
  sam delete --no-prompts

Outputs of the stack:
{_outputs(url, stack, deployed)}
"""


def _about_rules(deployed: RulesInUse | None) -> str:
    if deployed is None:
        return ""
    file = shown_path(deployed.path)
    return f"""\
It mirrors what {file} says ({rules_text(deployed.rules)}); a change of the file is deployed at once.
Alerts, outcome events and the functions' log entries are printed below as they come.
"""


def _stack_commands(registry: str, deployed: RulesInUse | None) -> str:
    mirror = next(iter(deployed.rules.mirrors), None) if deployed else None
    repository, tag = (mirror.repository, mirror.tag) if mirror else ("REPOSITORY", "TAG")
    file = f" --rules {shown_path(deployed.path)}" if deployed else ""
    blobs = registry.replace("127.0.0.1", "localhost")  # as in AWS, blobs are at another host
    return f"""\
  skopeo list-tags --tls-verify=false docker://{registry}/{repository}
  bin/pullahead status{file}
  bin/pullahead why {repository}:{tag}{file}
  bin/pullahead refresh {repository}:{tag}{file}
  bin/pullahead copy --insecure {registry} --insecure {blobs} {registry}/{repository}:{tag} {registry}/{repository}:copy
"""


def _outputs(url: str, stack: Stack | None, deployed: RulesInUse | None) -> str:
    """List the outputs; commands say where the local AWS is, since old versions of `aws` read no variable."""
    if stack is None:
        return "  none yet"
    own = {"EditTheRules": shown_path(deployed.path)} if deployed else {}
    local = {name: value for name, value in sorted({**stack.outputs, **own}.items()) if _CONSOLE not in value}
    return "\n".join(
        f"  {name} = {value.replace('aws ', f'aws --endpoint-url {url} ', 1) if value.startswith('aws ') else value}"
        for name, value in local.items()
    )
