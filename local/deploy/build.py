"""Builds and uploads what a template points at: layers, functions' code, state machine definitions.

The same content gives the same bytes, so that what was not changed is not built twice.
"""

import hashlib
import io
import json
import os
import platform
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from local.aws.runtime_directory import BUILD_DIRECTORY, exclusive
from local.deploy.errors import DeploymentError
from local.deploy.template import load_yaml

PutArchive = Callable[[str, bytes], Any]
"""Keeps the archive of a layer or function, by its logical id, and returns what the template names instead."""

BUCKET: Final = "local-artifacts"
_NO_CONTENT: Final[Mapping[str, Path]] = MappingProxyType({})
_LONG_AGO: Final = (1980, 1, 1, 0, 0, 0)  # the oldest time that a zip file can hold
_LAYER: Final = "AWS::Serverless::LayerVersion"
_FUNCTION: Final = "AWS::Serverless::Function"
_STATE_MACHINE: Final = "AWS::Serverless::StateMachine"


def upload_artifacts(
    s3: Any, template: Mapping[str, Any], base: Path, content: Mapping[str, Path]
) -> dict[str, Mapping[str, Any]]:
    """Put `s3://…` in place of every folder, and return the state machines' definitions by logical id.

    Raises:
        DeploymentError: a folder or file is not there, or does not build.
    """
    unknown = content.keys() - template["Resources"].keys()
    if unknown:
        raise DeploymentError(f"the template has no {sorted(unknown)} to give other content to")
    if BUCKET not in {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]}:
        s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": s3.meta.region_name})
    return replace_folders(template, base, lambda _name, archive: _upload(s3, archive), content)


def replace_folders(
    template: Mapping[str, Any],
    base: Path,
    put: PutArchive,
    content: Mapping[str, Path] = _NO_CONTENT,
    *,
    for_lambda: bool = False,
) -> dict[str, Mapping[str, Any]]:
    """Put the location of an archive in place of every folder, and return the state machines' definitions by id.

    `for_lambda` builds layers for Lambda's platform instead of this machine's.

    Raises:
        DeploymentError: a folder or file is not there, or does not build.
    """
    default_code = template.get("Globals", {}).get("Function", {}).get("CodeUri")
    definitions: dict[str, Mapping[str, Any]] = {}
    for name, resource in template["Resources"].items():
        properties = resource.get("Properties", {})
        if resource["Type"] == _LAYER:
            archive = _layer(name, resource, base, content.get(name), for_lambda=for_lambda)
            properties["ContentUri"] = put(name, archive)
        elif resource["Type"] == _FUNCTION and "InlineCode" not in properties:
            folder = content.get(name) or base / properties.get("CodeUri", default_code or ".")
            properties["CodeUri"] = put(name, _function(name, folder))
        elif resource["Type"] == _STATE_MACHINE and "DefinitionUri" in properties:
            definitions[name] = load_yaml(base / properties["DefinitionUri"])
            properties["DefinitionUri"] = {"Bucket": BUCKET, "Key": "put in line by translate.py"}
    return definitions


def zipped(folder: Path, *, with_bytecode: bool = False) -> bytes:
    """Zip a folder, the same every time; without bytecode, unless it was built to be shipped."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as target:
        for file in _files(folder, with_bytecode=with_bytecode):
            entry = zipfile.ZipInfo(file.relative_to(folder).as_posix(), _LONG_AGO)
            entry.external_attr = (0o100755 if os.access(file, os.X_OK) else 0o100644) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            target.writestr(entry, file.read_bytes())
    return archive.getvalue()


def _files(folder: Path, *, with_bytecode: bool = False) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        is_bytecode = "__pycache__" in path.parts or path.suffix == ".pyc"
        if path.is_file() and (with_bytecode or not is_bytecode):
            yield path


def _upload(s3: Any, archive: bytes) -> str:
    key = f"{hashlib.sha256(archive).hexdigest()}.zip"
    s3.put_object(Bucket=BUCKET, Key=key, Body=archive)
    return f"s3://{BUCKET}/{key}"


def _function(name: str, folder: Path) -> bytes:
    if not folder.is_dir():
        raise DeploymentError(f"{name}: its code is not in {folder}")
    if (folder / "requirements.txt").is_file():
        raise DeploymentError(f"{name}: {folder}/requirements.txt would not be installed; dependencies go in a layer")
    return zipped(folder)


def _layer(name: str, resource: Mapping[str, Any], base: Path, other: Path | None, *, for_lambda: bool) -> bytes:
    folder = other or base / resource["Properties"]["ContentUri"]
    if not folder.is_dir():
        raise DeploymentError(f"{name}: its content is not in {folder}")
    method = resource.get("Metadata", {}).get("BuildMethod")
    if method is None or (other is not None and not (other / "Makefile").is_file()):
        return zipped(folder)  # content given instead of the template's may be ready as it is
    if method != "makefile":
        raise DeploymentError(f"{name}: a layer is built by its Makefile here, not by {method!r}")
    return _built(name, folder.resolve(), for_lambda=for_lambda)


def _built(name: str, folder: Path, *, for_lambda: bool) -> bytes:
    """Run the layer's Makefile as `sam build` does, once for each content, platform and Python; return the archive."""
    build = f"{name}-{_digest(folder)}{'-lambda' if for_lambda else ''}"
    archive = BUILD_DIRECTORY / "layers" / f"{build}.zip"  # to compress it takes longer than the rest of a deployment
    artifacts, partial = archive.with_suffix(".artifacts"), archive.with_suffix(".partial")
    with exclusive(f"layer-{name}"):
        if not archive.is_file():
            shutil.rmtree(artifacts, ignore_errors=True)
            artifacts.mkdir(parents=True)
            _make(name, folder, artifacts, for_lambda=for_lambda)
            partial.write_bytes(zipped(artifacts, with_bytecode=True))
            partial.rename(archive)
            shutil.rmtree(artifacts)
        return archive.read_bytes()


def _make(name: str, folder: Path, artifacts: Path, *, for_lambda: bool) -> None:
    command = ["make", "-C", str(folder), f"build-{name}", f"ARTIFACTS_DIR={artifacts}"]
    # `host` asks the Makefile for wheels of this machine, where `sam build` asks for those of Lambda's.
    platform = {} if for_lambda else {"PULLAHEAD_BUILD_PLATFORM": "host", "PYTHON": sys.executable}
    environment = {**os.environ, "PULLAHEAD_BUILD_PLATFORM": "", **platform}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise DeploymentError(f"{name}: {' '.join(command)} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    if not any(artifacts.iterdir()):
        raise DeploymentError(f"{name}: {' '.join(command)} left nothing in ARTIFACTS_DIR")


def _digest(folder: Path) -> str:
    digest = hashlib.sha256(f"{sys.version_info[:2]} {platform.machine()} {sys.platform}".encode())
    for file in _files(folder):
        digest.update(json.dumps([file.relative_to(folder).as_posix(), file.stat().st_size]).encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]
