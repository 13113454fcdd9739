"""Writes Pullahead as a plain CloudFormation template and its archives, for organizations that don't run SAM.

`python -m local.package` applies the SAM transform here, so that StackSets, Terraform and Service Catalog can deploy
the template as it is. The archives are named by their content and lie beside it; where they are uploaded is told by
parameters. The same sources give the same bytes.
"""

import argparse
import hashlib
import json
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from local.deploy.build import replace_folders
from local.deploy.errors import DeploymentError
from local.deploy.template import load_template
from local.deploy.translate import transformed
from pullahead import __version__

ROOT: Final = Path(__file__).parents[1]
TEMPLATE: Final = "template.json"
MAX_INLINE_BYTES: Final = 51_200
"""CloudFormation quotas: of a template in the request itself. One that is read from S3 may have 1 MB."""
MAX_BYTES: Final = 1_000_000

_BUCKET: Final = "ArtifactsBucket"
_PREFIX: Final = "ArtifactsPrefix"
_REGION_MARK: Final = "{region}"
_NAMES_REGION: Final = "ArtifactsBucketNamesRegion"
_PARAMETERS: Final[Mapping[str, Any]] = {
    _BUCKET: {
        "Type": "String",
        "AllowedPattern": r"^[a-z0-9.-]*(\{region\}[a-z0-9.-]*)?$",
        "MinLength": 3,
        "Description": (
            f"Name of the S3 bucket with the uploaded archives, in the Region of the stack. {_REGION_MARK} stands for "
            "the Region, so that one value serves several Regions."
        ),
    },
    _PREFIX: {
        "Type": "String",
        "Default": f"pullahead/{__version__}/",
        "AllowedPattern": "^(|.*/)$",
        "Description": "Prefix of the archives in the bucket. It ends in a slash, or is empty.",
    },
}
# Fn::Select needs a second part even where CloudFormation computes the branch that it does not take.
_PARTS: Final = {"Fn::Split": [_REGION_MARK, {"Fn::Join": ["", [{"Ref": _BUCKET}, _REGION_MARK]]}]}
_BEFORE_REGION: Final = {"Fn::Select": [0, _PARTS]}
_ACTUAL_BUCKET: Final = {
    "Fn::If": [
        _NAMES_REGION,
        {"Fn::Join": ["", [_BEFORE_REGION, {"Ref": "AWS::Region"}, {"Fn::Select": [1, _PARTS]}]]},
        {"Ref": _BUCKET},
    ]
}
_GROUP: Final = {"Label": {"default": "Artifacts"}, "Parameters": [_BUCKET, _PREFIX]}
_INTERFACE: Final = "AWS::CloudFormation::Interface"
_STATE_MACHINE: Final = "AWS::StepFunctions::StateMachine"
_BY_SAM: Final = ("lambda:createdBy", "stateMachine:createdBy")
_ABOUT_SAM: Final = ("EditTheRules",)
"""Outputs that say what to do with SAM."""


class Package(NamedTuple):
    """What was written: the template, its size, and the archives."""

    folder: Path
    template_bytes: int
    archives: tuple[str, ...]


def package(source: Path, folder: Path, *, for_lambda: bool = True) -> Package:
    """Write the package of a SAM template into a folder, in place of what is there.

    Raises:
        DeploymentError: something does not build, or the template is larger than CloudFormation reads.
    """
    archives: dict[str, bytes] = {}

    def put(name: str, archive: bytes) -> Mapping[str, Any]:
        file = f"{name}-{hashlib.sha256(archive).hexdigest()[:16]}.zip"
        archives[file] = archive
        return {"Bucket": _ACTUAL_BUCKET, "Key": {"Fn::Join": ["", [{"Ref": _PREFIX}, file]]}}

    template = load_template(source)
    definitions = replace_folders(template, source.resolve().parent, put, for_lambda=for_lambda)
    text = json.dumps(plain_template(template, definitions), separators=(",", ":"))
    if len(text) > MAX_BYTES:
        raise DeploymentError(f"the template has {len(text):,} bytes; CloudFormation reads at most {MAX_BYTES:,}")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for file, archive in archives.items():
        (folder / file).write_bytes(archive)
    (folder / TEMPLATE).write_text(text, encoding="utf-8")
    return Package(folder, len(text), tuple(sorted(archives)))


def plain_template(template: Mapping[str, Any], definitions: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Apply the SAM transform to a template whose folders were replaced, and remove what is about SAM.

    Raises:
        DeploymentError: it is no valid SAM template.
    """
    interface = template["Metadata"][_INTERFACE]
    groups = [_GROUP, *interface["ParameterGroups"]]
    wanted = {
        **template,
        "Parameters": {**_PARAMETERS, **template["Parameters"]},
        "Conditions": {
            **template["Conditions"],
            _NAMES_REGION: {"Fn::Not": [{"Fn::Equals": [{"Ref": _BUCKET}, _BEFORE_REGION]}]},
        },
        "Metadata": {_INTERFACE: {**interface, "ParameterGroups": groups}},
        "Outputs": {name: each for name, each in template["Outputs"].items() if name not in _ABOUT_SAM},
    }
    # No parameter has a value, so that the transform leaves references to them as they are.
    without_defaults = {name: {"Type": each["Type"]} for name, each in wanted["Parameters"].items()}
    plain = transformed({**wanted, "Parameters": without_defaults}, {})
    plain["Parameters"] = wanted["Parameters"]
    for name, resource in plain["Resources"].items():
        resource.pop("Metadata", None)
        properties = resource.get("Properties", {})
        _drop_tags(properties)
        if resource["Type"] == _STATE_MACHINE:
            del properties["DefinitionS3Location"]
            properties["DefinitionString"] = json.dumps(definitions[name], separators=(",", ":"))
    return plain


def _drop_tags(properties: dict[str, Any]) -> None:
    kept = [tag for tag in properties.get("Tags", []) if tag["Key"] not in _BY_SAM]
    if "Tags" in properties:
        properties["Tags"] = kept
        if not kept:
            del properties["Tags"]


def main(arguments: list[str]) -> int:
    """Write the package, and say how to upload it."""
    parser = argparse.ArgumentParser(prog="make package", description=__doc__)
    parser.add_argument("--to", type=Path, default=ROOT / "dist", metavar="FOLDER", help="where to write it")
    folder = parser.parse_args(arguments).to / f"pullahead-{__version__}"
    try:
        made = package(ROOT / "template.yaml", folder)
    except DeploymentError as error:
        print(error, file=sys.stderr)
        return 1
    prefix = _PARAMETERS[_PREFIX]["Default"]
    inline = "" if made.template_bytes <= MAX_INLINE_BYTES else ", too large to be sent in a request"
    print(f"{folder}: {len(made.archives)} archives and {TEMPLATE} ({made.template_bytes:,} bytes{inline})")
    print("Upload it, and deploy the template from there (docs/deploying.md, Without SAM):")
    print(f"  aws s3 sync {folder} s3://BUCKET/{prefix}")
    print(f"  https://BUCKET.s3.REGION.amazonaws.com/{prefix}{TEMPLATE}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
