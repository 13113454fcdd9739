"""What a copy came to, for people and for programs. Pure."""

from typing import Any

from pullahead.cli.texts import megabytes_per_second, rate_text, size_text
from pullahead.oci import Reference
from pullahead.standalone.copy_image import CopySummary


def summary_text(source: Reference, target: Reference, summary: CopySummary) -> str:
    """Describe a copy in a few lines."""
    if summary.already_there:
        return f"nothing to do: {target} is {source} already\n  digest  {summary.digest}"
    blobs = f"{summary.blobs_copied} copied, {summary.blobs_present} present, {summary.blobs_mounted} mounted"
    if summary.blobs_foreign:
        where = "its URL" if summary.blobs_foreign == 1 else "their URLs"
        blobs += f", {summary.blobs_foreign} foreign left at {where}"
    rate = rate_text(summary.bytes_copied, summary.seconds)
    moved = f"{summary.bytes_copied:,} ({size_text(summary.bytes_copied)}) in {summary.seconds:.2f} s, {rate}"
    return "\n".join(
        (f"copied {source} to {target}", f"  digest  {summary.digest}", f"  blobs   {blobs}", f"  bytes   {moved}")
    )


def summary_document(source: Reference, target: Reference, summary: CopySummary) -> dict[str, Any]:
    """Describe a copy as a JSON document."""
    return {
        "source": str(source),
        "target": str(target),
        "digest": summary.digest,
        "already_there": summary.already_there,
        "bytes_copied": summary.bytes_copied,
        "blobs_copied": summary.blobs_copied,
        "blobs_present": summary.blobs_present,
        "blobs_mounted": summary.blobs_mounted,
        "blobs_foreign": summary.blobs_foreign,
        "seconds": round(summary.seconds, 6),
        "megabytes_per_second": megabytes_per_second(summary.bytes_copied, summary.seconds),
    }
