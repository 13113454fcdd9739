"""The operations of the ECR API on layers, which /v2 calls too. Refuses to know what the layers contain."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from local.ecr.errors import EcrError, invalid_layer_part, layers_not_found
from local.ecr.identity import ACCOUNT_ID, PART_SIZE_BYTES
from local.ecr.manifests import is_digest
from local.ecr.repositories import Layer, Registry, Repository
from local.ecr.uploads import FinishedLayer, Upload, Uploads

Parameters = Mapping[str, Any]
Answer = dict[str, Any]

_UNNAMED_LAYER_TYPE = "application/vnd.docker.image.rootfs.diff.tar.gzip"  # until a manifest says better


class LayerOperations:
    """What the API does with layers."""

    def __init__(self, registry: Registry, uploads: Uploads, blob_url: Callable[[str, str], str]) -> None:
        self._registry = registry
        self._uploads = uploads
        self._blob_url = blob_url

    def table(self) -> dict[str, Callable[[Parameters], Answer]]:
        """List the operations by their names in the API."""
        return {
            "BatchCheckLayerAvailability": self.check_availability,
            "InitiateLayerUpload": self.initiate,
            "UploadLayerPart": self.upload_part,
            "CompleteLayerUpload": self.complete,
            "GetDownloadUrlForLayer": self.download_url,
        }

    def check_availability(self, p: Parameters) -> Answer:
        """BatchCheckLayerAvailability: a layer that is not there is UNAVAILABLE, not a failure."""
        with self._registry.lock:
            repository = self._get(p)
            asked = p["layerDigests"]
            layers = [_availability(repository, digest) for digest in asked if is_digest(digest)]
        failures = [_invalid_digest(digest) for digest in asked if not is_digest(digest)]
        return {"layers": layers, "failures": failures}

    def initiate(self, p: Parameters) -> Answer:
        """InitiateLayerUpload."""
        return {"uploadId": self.begin(self._get(p).name).upload_id, "partSize": PART_SIZE_BYTES}

    def upload_part(self, p: Parameters) -> Answer:
        """UploadLayerPart."""
        name, blob = self._get(p).name, p["layerPartBlob"]
        upload = self._uploads.find(name, p["uploadId"])
        if p["partLastByte"] - p["partFirstByte"] + 1 != len(blob):
            message = f"The part has {len(blob)} bytes, which is not what partFirstByte and partLastByte say"
            raise invalid_layer_part(name, upload.upload_id, upload.last_byte, message)
        last_byte = self._uploads.append(upload, p["partFirstByte"], (blob,))
        return _named(name) | {"uploadId": upload.upload_id, "lastByteReceived": last_byte}

    def complete(self, p: Parameters) -> Answer:
        """CompleteLayerUpload."""
        name = self._get(p).name
        upload = self._uploads.find(name, p["uploadId"])
        layer = self.finish(upload, p["layerDigests"])
        return _named(name) | {"uploadId": upload.upload_id, "layerDigest": layer.digest}

    def download_url(self, p: Parameters) -> Answer:
        """GetDownloadUrlForLayer: only for layers that an image of the repository refers to."""
        digest = p["layerDigest"]
        with self._registry.lock:
            repository = self._get(p)
            if digest not in repository.layers:
                raise layers_not_found(repository.name, [digest])
            if not repository.refers_to_layer(digest):
                message = f"Layer '{digest}' is not associated with an image in the repository '{repository.name}'"
                raise EcrError("LayerInaccessibleException", message)
        return {"downloadUrl": self._blob_url(repository.name, digest), "layerDigest": digest}

    def begin(self, repository: str) -> Upload:
        """Open an upload session in a repository that must exist."""
        return self._uploads.begin(self._registry.get(repository).name)

    def finish(self, upload: Upload, digests: Iterable[str]) -> FinishedLayer:
        """Close an upload session and give its layer to the repository."""
        layer = self._uploads.complete(upload, digests)
        with self._registry.lock:
            repository = self._registry.get(upload.repository)
            if layer.digest in repository.layers:
                message = f"The layer '{layer.digest}' already exists in the repository with name '{repository.name}'"
                raise EcrError("LayerAlreadyExistsException", message)
            repository.layers[layer.digest] = Layer(layer.size_bytes, _UNNAMED_LAYER_TYPE)
        return layer

    def mount(self, repository: str, digest: str, source: str) -> bool:
        """Give a repository a layer that an image of another refers to; False where it cannot be mounted."""
        with self._registry.lock:
            target, other = self._registry.get(repository), self._registry.find(source)
            if other is None or other.encryption != target.encryption or not other.refers_to_layer(digest):
                return False
            target.layers.setdefault(digest, other.layers[digest])
            return True

    def _get(self, p: Parameters) -> Repository:
        return self._registry.get(p["repositoryName"], p.get("registryId"))


def _named(name: str) -> Answer:
    return {"registryId": ACCOUNT_ID, "repositoryName": name}


def _availability(repository: Repository, digest: str) -> Answer:
    layer = repository.layers.get(digest)
    if layer is None:
        return {"layerDigest": digest, "layerAvailability": "UNAVAILABLE"}
    return {
        "layerDigest": digest,
        "layerAvailability": "AVAILABLE",
        "layerSize": layer.size_bytes,
        "mediaType": layer.media_type,
    }


def _invalid_digest(digest: str) -> Answer:
    reason = "Invalid layer digest: should be sha256:<hex>"
    return {"layerDigest": digest, "failureCode": "InvalidLayerDigest", "failureReason": reason}
