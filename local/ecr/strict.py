"""Put the parts of the strict local ECR together and answer its API. Refuses to know of HTTP.

Its state is its own: moto only hands requests over (local.ecr.responses), so moto's own reset leaves it whole, and
`StrictEcr.reset` empties it. AWS::ECR::Repository in CloudFormation is moto's and is not seen here.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from local.ecr.account import AccountSettings
from local.ecr.api_images import Emit, ImageOperations
from local.ecr.api_layers import LayerOperations
from local.ecr.api_pull_through import CacheRuleOperations
from local.ecr.api_replication import RegionalRegistry, ReplicationOperations
from local.ecr.api_repositories import RepositoryOperations
from local.ecr.api_scans import ScanOperations
from local.ecr.api_signing import SigningOperations
from local.ecr.api_templates import TemplateOperations
from local.ecr.cache_imports import CacheImports
from local.ecr.errors import EcrError
from local.ecr.faults import Call, CallLog, Faults
from local.ecr.identity import REGION, registry_host
from local.ecr.images import ImageId
from local.ecr.plays import Plays
from local.ecr.quotas import Quotas
from local.ecr.repositories import Registry
from local.ecr.shapes import checked_parameters
from local.ecr.store import BlobStore
from local.ecr.tokens import Tokens
from local.ecr.trail import Trail
from local.ecr.uploads import Uploads

BLOB_PATH = "/_ecr-blobs/"
_BULKY = frozenset({"layerPartBlob", "imageManifest"})


class StrictEcr:
    """One registry: `faults` scripts it, `calls` remembers what it was asked, `quotas` may throttle it.

    The account has others where `open_region` was called; they are found by the Region of an API request, and by the
    host of one to the Docker endpoint.
    """

    def __init__(
        self,
        data_dir: Path,
        public_url: Callable[[], str],
        now: Callable[[], datetime],
        emit: Emit,
        region: str = REGION,
        home: "StrictEcr | None" = None,
    ) -> None:
        self.region = region
        self._data_dir, self._now, self._home = data_dir, now, home or self
        self._elsewhere: dict[str, StrictEcr] = {}
        self.faults = Faults()
        self.calls = CallLog()
        self.quotas = Quotas()
        self.store = BlobStore(data_dir)
        self.registry = Registry()
        self.uploads = Uploads(self.store)
        self.tokens = Tokens(now)
        self.trail = Trail(now, emit)
        self.account = AccountSettings()
        self.public_url = public_url
        self.layers = LayerOperations(self.registry, self.uploads, self._blob_url)
        self.signing = SigningOperations()
        self.here = RegionalRegistry(region, self.registry, self.store, emit)
        self.replication = ReplicationOperations(self.here, lambda to: self._home.in_region(to).here, now)
        self.cache_rules = CacheRuleOperations(now)
        imports = CacheImports(self.registry, self.cache_rules, self.layers, self.uploads, now, emit)
        self.scans = ScanOperations(self.registry, now, emit)
        replicate_deletion = self.replication.replicate_deletion
        self.images = ImageOperations(
            self.registry, now, emit, imports.fetch_missing, self._after_push, replicate_deletion
        )
        self.templates = TemplateOperations(now)
        self.plays = Plays(self.registry, self.cache_rules, now, emit)
        self._operations = (
            RepositoryOperations(self.registry, self.uploads, self.tokens, public_url, now, region).table()
            | self.layers.table()
            | self.images.table()
            | self.cache_rules.table()
            | self.templates.table()
            | self.account.table()
            | self.scans.table()
            | self.replication.table()
            | self.signing.table()
        )

    def open_region(self, region: str) -> "StrictEcr":
        """Give the account's registry in another Region, until the next reset. Its events stay there: none are sent."""
        if region not in self._elsewhere:
            folder = self._data_dir / "regions" / region
            self._elsewhere[region] = StrictEcr(folder, self.public_url, self._now, lambda _: None, region, self)
        return self._elsewhere[region]

    def in_region(self, region: str) -> "StrictEcr":
        """Find the registry in a Region.

        Raises:
            EcrError: there is none.
        """
        if region == self.region:
            return self
        if region not in self._elsewhere:
            raise EcrError("UnrecognizedClientException", f"The local ECR is in {self.region}, not in {region}")
        return self._elsewhere[region]

    def at_host(self, host: str) -> "StrictEcr":
        """Find the registry that a host names, or this one where it names none."""
        return next((each for region, each in self._elsewhere.items() if host == registry_host(region)), self)

    def call(self, operation: str, parameters: Any, role: str | None = None) -> dict[str, Any]:
        """Do one operation of the ECR API, in the name of a role, if it is known.

        Raises:
            EcrError: by the exceptions of the ECR API reference.
        """
        checked = checked_parameters(operation, parameters)
        if operation not in self._operations:
            raise EcrError("UnknownOperationException", f"The local ECR does not do '{operation}'")
        recorded = self.trail.pull(checked, role, by_docker=False) if operation == "BatchGetImage" else nullcontext()
        with recorded, self.observed(operation, checked.get("repositoryName"), checked):
            if operation == "PutImage":
                self.signing.check_push(checked["repositoryName"], role)
            return self._operations[operation](checked)

    @contextmanager
    def observed(self, operation: str, repository: str | None, parameters: Mapping[str, Any]) -> Iterator[None]:
        """Remember a call and play the scripted faults around it."""
        call = Call(operation, repository, {k: v for k, v in parameters.items() if k not in _BULKY})
        self.calls.record(call)
        self.quotas.take(operation)
        with self.faults.around(call):
            yield

    def forget_uploads(self, repository: str | None = None) -> None:
        """Let open uploads vanish, as ECR does after a time that it does not document."""
        self.uploads.forget(repository)

    def reset(self) -> None:
        """Empty the registry, and forget faults and calls. Call it when no request is under way."""
        self.faults.clear()
        self.calls.clear()
        self.uploads.forget()
        self.registry.clear()
        self.cache_rules.clear()
        self.templates.clear()
        self.account.clear()
        self.store.clear()
        self.replication.clear()
        self.signing.clear()
        self.scans.clear()
        self._elsewhere.clear()

    def _after_push(self, repository: str, image: ImageId) -> None:
        self.replication.replicate(repository, image)
        self.scans.pushed(repository, image)

    def _blob_url(self, repository: str, digest: str) -> str:
        path = f"{BLOB_PATH}{repository}/{digest}"
        return f"{_other_host(self.public_url())}{path}?{self.tokens.presign(path)}&region={self.region}"


def _other_host(url: str) -> str:
    """Call this machine by its other name.

    ECR's blobs come from another host (S3), which is why clients leave their Authorization behind. A redirect to the
    same host would carry it along, and be refused.
    """
    parts = urlsplit(url)
    other = {"127.0.0.1": "localhost", "localhost": "127.0.0.1"}.get(parts.hostname or "")
    if other is None:
        return url
    return f"{parts.scheme}://{other}:{parts.port}" if parts.port else f"{parts.scheme}://{other}"
