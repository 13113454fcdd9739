"""An upstream registry of our own on 127.0.0.1, over true HTTP, whose content and faults are set in one line each."""

from local.images import SparseBlob
from local.registry.journal import RecordedRequest
from local.registry.server import FakeRegistry

__all__ = ["FakeRegistry", "RecordedRequest", "SparseBlob"]
