"""`pullahead copy`: one image from any registry to any other."""

import argparse
import sys
import time
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from pullahead.cli.options import RegistryOptions, add_platform_option, add_registry_options, describe, parsed_by
from pullahead.cli.output import DONE, FAILED, say, write_result
from pullahead.cli.progress import CopyCounter, ProgressDisplay, view_for
from pullahead.cli.registries import Registries
from pullahead.clock import wait_after_breaks
from pullahead.messages import ReferrersOutcome
from pullahead.oci import Reference
from pullahead.oci.reference import parse_reference
from pullahead.rules.model import NO_REFERRERS, ReferrersPolicy
from pullahead.standalone.copy_image import CopyOptions, CopySummary, copy_image
from pullahead.text import megabytes_per_second, rate_text, size_text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    describe(
        parser,
        "Copy an image, byte for byte, from one registry to another. Blobs that the target has are not sent again, "
        "every digest is verified, and the tag is moved last. Credentials are those of `docker login`, or for Amazon "
        "ECR those of the AWS credential chain.",
        "copy python:3.13 123456789012.dkr.ecr.eu-west-1.amazonaws.com/mirror/python:3.13",
        "copy quay.io/team/app:2 localhost:5500/app:2 --insecure localhost:5500 --platform linux/amd64",
    )
    parser.add_argument(
        "source", metavar="SOURCE", type=parsed_by(parse_reference), help="Image to copy, by tag or by digest"
    )
    parser.add_argument("target", metavar="TARGET", type=parsed_by(_parse_target), help="Tag to copy it to")
    add_platform_option(parser, "Copy only this platform of a multi-platform image")
    parser.add_argument(
        "--foreign-layers",
        action="store_true",
        help="Copy foreign layers too, which the source's manifest names by URL",
    )
    parser.add_argument(
        "--referrers",
        action="store_true",
        help="Copy what refers to the image too: signatures, SBOMs, attestations",
    )
    add_registry_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Copy, show progress, and sum up."""
    source: Reference = arguments.source
    target: Reference = arguments.target
    registries = Registries(RegistryOptions.of(arguments))
    counter = CopyCounter()
    display: AbstractContextManager[object] = nullcontext()
    if not arguments.quiet:
        display = ProgressDisplay(counter, view_for(sys.stderr))
    with display:
        summary = copy_image(
            source,
            target,
            upstream=registries.upstream(),
            destination=registries.target(target.repository.registry),
            wait_after_break=wait_after_breaks,
            progress=counter,
            options=CopyOptions(
                platforms=tuple(arguments.platform),
                foreign_layers=arguments.foreign_layers,
                referrers=ReferrersPolicy() if arguments.referrers else NO_REFERRERS,
            ),
            clock=time.monotonic,
            cpu_clock=time.process_time,
        )
    write_result(arguments, summary_text(source, target, summary), summary_document(source, target, summary))
    failed = summary.referrers.troubles if summary.referrers is not None else ()
    for trouble in failed:
        say(trouble.text)
    return FAILED if failed else DONE


def summary_text(source: Reference, target: Reference, summary: CopySummary) -> str:
    """Describe a copy in a few lines."""
    referrers = [f"  referrers  {referrers_text(summary.referrers)}"] if summary.referrers is not None else []
    if summary.already_there:
        done = [f"nothing to do: {target} already matches {source}", f"  digest  {summary.digest}"]
        return "\n".join([*done, *referrers])
    blobs = f"{summary.blobs_copied} copied, {summary.blobs_present} present, {summary.blobs_mounted} mounted"
    if summary.blobs_foreign:
        where = "its URL" if summary.blobs_foreign == 1 else "their URLs"
        blobs += f", {summary.blobs_foreign} foreign left at {where}"
    rate = rate_text(summary.bytes_copied, summary.seconds)
    moved = f"{summary.bytes_copied:,} ({size_text(summary.bytes_copied)}) in {summary.seconds:.2f} s, {rate}"
    return "\n".join(
        [
            f"copied {source} to {target}",
            f"  digest  {summary.digest}",
            f"  blobs   {blobs}",
            f"  bytes   {moved}",
            *referrers,
        ]
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
        "referrers": None if summary.referrers is None else referrers_document(summary.referrers),
        "seconds": round(summary.seconds, 6),
        "megabytes_per_second": megabytes_per_second(summary.bytes_copied, summary.seconds),
    }


def referrers_text(outcome: ReferrersOutcome) -> str:
    """Count the referrers of an image."""
    parts = [f"{outcome.copied} at the target ({size_text(outcome.bytes)})"]
    parts += [f"{outcome.failed} failed"] if outcome.failed else []
    parts += [f"{outcome.excluded} left out by type"] if outcome.excluded else []
    if outcome.not_applicable:
        parts.append(f"{outcome.not_applicable} of the whole index, not applicable to its platforms")
    return "; ".join([", ".join(parts), *outcome.limits])


def referrers_document(outcome: ReferrersOutcome) -> dict[str, Any]:
    """Describe the referrers of an image as JSON."""
    return {
        "copied": outcome.copied,
        "bytes": outcome.bytes,
        "failed": outcome.failed,
        "excluded": outcome.excluded,
        "not_applicable": outcome.not_applicable,
        "errors": [trouble.text for trouble in outcome.troubles],
        "limits": list(outcome.limits),
    }


def _parse_target(text: str) -> Reference:
    reference = parse_reference(text)
    if reference.digest is not None:
        raise ValueError("TARGET must be a tag, not a digest: the digest is the source's")
    return reference
