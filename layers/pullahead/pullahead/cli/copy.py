"""`pullahead copy`: an image, or all tags of a repository, between registries and OCI layouts."""

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from pullahead.cli.options import (
    RegistryOptions,
    UsageError,
    add_platform_option,
    add_registry_options,
    describe,
    parse_file,
    parsed_by,
)
from pullahead.cli.output import DONE, FAILED, say, write_result
from pullahead.cli.progress import CopyCounter, ProgressDisplay, view_for
from pullahead.cli.registries import Registries
from pullahead.clock import wait_after_breaks
from pullahead.errors import NotVerifiedError, PullaheadError, RegistryError, Side
from pullahead.layouts.names import LayoutRepository, Transport, complete_source, parse_location
from pullahead.messages import ReferrersOutcome
from pullahead.oci import Digest, Reference, Repository
from pullahead.oci.registries import CopySource
from pullahead.rules.model import NO_REFERRERS, ReferrersPolicy
from pullahead.standalone.copy_image import CopyOptions, CopySummary, copy_image
from pullahead.standalone.copy_tags import TagResult, copy_tags
from pullahead.text import count_text, megabytes_per_second, rate_text, size_text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    describe(
        parser,
        "Copy an image, byte for byte, from one registry to another, or all tags of a repository. Blobs that the "
        "target has are not sent again, every digest is verified, and the tag is moved last. Credentials are those of "
        "`docker login`, or for Amazon ECR those of the AWS credential chain. Both sides may be OCI layouts: "
        "oci:DIR[:TAG]; the source also an archive with one: oci-archive:FILE[:TAG], docker-archive:FILE[:TAG].",
        "copy python:3.13 123456789012.dkr.ecr.eu-west-1.amazonaws.com/mirror/python:3.13",
        "copy quay.io/team/app:2 localhost:5500/app:2 --insecure localhost:5500 --platform linux/amd64",
        "copy --all-tags quay.io/team/app registry.example.com/app",
        "copy python:3.13 oci:images",
    )
    parser.add_argument(
        "source", metavar="SOURCE", type=parsed_by(parse_location), help="Image to copy, by tag or by digest"
    )
    parser.add_argument("target", metavar="TARGET", type=parsed_by(_parse_target), help="Tag to copy it to")
    parser.add_argument(
        "--all-tags", action="store_true", help="Copy every tag of the repository SOURCE to the repository TARGET"
    )
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
    parser.add_argument(
        "--verify",
        metavar="FILE",
        type=parsed_by(parse_file),
        help="Copy nothing unless the image is signed as this policy demands (see `pullahead verify --policy`)",
    )
    parser.add_argument(
        "--trust-root", metavar="FILE", type=parsed_by(parse_file), help="With --verify: as of `pullahead verify`"
    )
    add_registry_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Copy, show progress, and sum up."""
    if arguments.foreign_layers and isinstance(arguments.source.repository, LayoutRepository):
        raise UsageError("--foreign-layers needs a registry as SOURCE: nothing is downloaded for a layout")
    if arguments.verify is not None and arguments.all_tags:
        raise UsageError("--verify is for one image, not for --all-tags")
    if arguments.trust_root is not None and arguments.verify is None:
        raise UsageError("--trust-root needs --verify")
    registries = Registries(RegistryOptions.of(arguments))
    return _copy_all(arguments, registries) if arguments.all_tags else _copy_one(arguments, registries)


def _copy_one(arguments: argparse.Namespace, registries: Registries) -> int:
    source = complete_source(arguments.source)
    target = _complete_target(arguments.target, source)
    upstream = registries.reader(source.repository)
    if arguments.verify is not None:
        source = source._replace(digest=_verified(source, upstream, arguments.verify, arguments.trust_root))
    counter = CopyCounter()
    display: AbstractContextManager[object] = nullcontext()
    if not arguments.quiet:
        display = ProgressDisplay(counter, view_for(sys.stderr))
    with display:
        summary = copy_image(
            source,
            target,
            upstream=upstream,
            destination=registries.writer(target.repository),
            wait_after_break=wait_after_breaks,
            progress=counter,
            options=_options(arguments),
            clock=time.monotonic,
            cpu_clock=time.process_time,
        )
    write_result(arguments, summary_text(source, target, summary), summary_document(source, target, summary))
    failed = _failed_referrers(summary)
    for text in failed:
        say(text)
    return FAILED if failed else DONE


def _verified(source: Reference, upstream: CopySource, policy: Path, trust_root: Path | None) -> Digest:
    """Return the digest that was verified: this one is copied, wherever the tag moves meanwhile."""
    from pullahead.cli.verify import policy_file, verify_reference  # noqa: PLC0415 - few copies need it

    image, verdict = verify_reference(source, upstream, policy_file(policy), trust_root)
    if image.digest is None or not verdict.is_admitted:
        raise NotVerifiedError(f"{image} is not copied: {verdict.outcome}: {verdict.reason}")
    return image.digest


def _copy_all(arguments: argparse.Namespace, registries: Registries) -> int:
    source, target = _repository_of(arguments.source, "SOURCE"), _repository_of(arguments.target, "TARGET")
    upstream, begun = registries.reader(source), time.monotonic()
    tags = upstream.list_tags(source)
    copied: dict[str, TagResult] = {}
    for each in copy_tags(
        source,
        target,
        tags,
        upstream=upstream,
        destination=registries.writer(target),
        wait_after_break=wait_after_breaks,
        options=_options(arguments),
        clock=time.monotonic,
        cpu_clock=time.process_time,
    ):
        copied[each.tag] = each
        if each.error is not None:
            say(f"{each.tag} failed: {_cause(each.error)}")
        elif not arguments.quiet:
            what = "already matches" if each.summary is not None and each.summary.already_there else "copied"
            say(f"{each.tag} {what} ({len(copied)} of {len(tags)})")
        for text in _failed_referrers(each.summary):
            say(f"{each.tag}: {text}")
    results = [copied[tag] for tag in tags]
    document = tags_document(source, target, results, time.monotonic() - begun)
    write_result(arguments, tags_text(document), document)
    has_failed = any(each.error is not None or _failed_referrers(each.summary) for each in results)
    return FAILED if has_failed else DONE


def _failed_referrers(summary: CopySummary | None) -> tuple[str, ...]:
    outcome = None if summary is None else summary.referrers
    return () if outcome is None else tuple(trouble.text for trouble in outcome.troubles)


def _options(arguments: argparse.Namespace) -> CopyOptions:
    return CopyOptions(
        platforms=tuple(arguments.platform),
        foreign_layers=arguments.foreign_layers,
        referrers=ReferrersPolicy() if arguments.referrers else NO_REFERRERS,
    )


def _is_layout(reference: Reference) -> bool:
    return isinstance(reference.repository, LayoutRepository)


def _complete_target(reference: Reference, source: Reference) -> Reference:
    """Name the tag `latest` of a registry where nothing is named; of a layout, the source's. Raises UsageError."""
    if reference.tag is not None:
        return reference
    tag = source.tag if _is_layout(reference) else "latest"
    if tag is None:
        raise UsageError(f"neither SOURCE nor TARGET has a tag; write {reference.repository}:TAG")
    return reference._replace(tag=tag)


def _repository_of(reference: Reference, name: str) -> Repository:
    if reference.tag is not None or reference.digest is not None:
        raise UsageError(f"with --all-tags {name} is a repository, without a tag or a digest")
    return reference.repository


def _cause(error: PullaheadError) -> str:
    if isinstance(error, RegistryError) and error.side is Side.UPSTREAM:
        return error.describe("source")
    return str(error)


def summary_text(source: Reference, target: Reference, summary: CopySummary) -> str:
    """Describe a copy in a few lines."""
    referrers = [f"  referrers  {referrers_text(summary.referrers)}"] if summary.referrers is not None else []
    if summary.already_there:
        said = "nothing to do: " if summary.referrers is None else ""  # what refers to it may have been copied
        return "\n".join([f"{said}{target} already matches {source}", f"  digest  {summary.digest}", *referrers])
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


def tags_document(
    source: Repository, target: Repository, results: Sequence[TagResult], seconds: float
) -> dict[str, Any]:
    """Describe the copies of all tags as a JSON document."""
    summaries = [each.summary for each in results if each.summary is not None]
    present = sum(summary.already_there for summary in summaries)
    return {
        "source": str(source),
        "target": str(target),
        "tags": [_tag_document(each) for each in results],
        "totals": {
            "tags": len(results),
            "copied": len(summaries) - present,
            "already_there": present,
            "failed": len(results) - len(summaries),
            "bytes_copied": sum(summary.bytes_copied for summary in summaries),
            "seconds": round(seconds, 6),
        },
    }


def tags_text(document: Mapping[str, Any]) -> str:
    """Describe the copies of all tags in a line."""
    totals = document["totals"]
    sent, seconds = totals["bytes_copied"], totals["seconds"]
    counts = f"{totals['copied']} copied, {totals['already_there']} already there, {totals['failed']} failed"
    moved = f"{size_text(sent)} in {seconds:.2f} s, {rate_text(sent, seconds)}"
    what = count_text(totals["tags"], "tag")
    return f"{what} of {document['source']} to {document['target']}: {counts}; {moved}"


def _tag_document(result: TagResult) -> dict[str, Any]:
    summary = result.summary
    return {
        "tag": result.tag,
        "digest": None if summary is None else summary.digest,
        "already_there": summary is not None and summary.already_there,
        "bytes_copied": 0 if summary is None else summary.bytes_copied,
        "error": None if result.error is None else _cause(result.error),
        "referrers": None if summary is None or summary.referrers is None else referrers_document(summary.referrers),
    }


def _parse_target(text: str) -> Reference:
    reference = parse_location(text)
    if reference.digest is not None:
        raise ValueError("TARGET must be a tag, not a digest: the digest is the source's")
    if isinstance(reference.repository, LayoutRepository) and reference.repository.transport is not Transport.FOLDER:
        raise ValueError(f"{reference.repository.registry}: can be read only; copy to oci:DIR[:TAG]")
    return reference
