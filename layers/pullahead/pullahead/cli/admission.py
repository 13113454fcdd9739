"""`pullahead admit`, `reject` and `held`: what a person decides about digests that are held, and which these are."""

import argparse
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from pullahead.admission.seen_digests import Decision, SeenDigests
from pullahead.cli.options import add_output_options, describe, parsed_by
from pullahead.cli.output import DONE, write_result
from pullahead.cli.stack import DeployedStack, add_stack_options, deployed_stack, now
from pullahead.dashboard.find_subjects import parse_named_image
from pullahead.errors import ConfigError
from pullahead.messages import CheckRequest
from pullahead.mirrors.admission import after_decision_of_person
from pullahead.mirrors.record import MirrorRecord, WaitingDigest
from pullahead.mirrors.store import update_record
from pullahead.oci import Digest
from pullahead.oci.reference import InvalidReferenceError
from pullahead.rules.mirror_key import MirrorKey
from pullahead.text import moment_text, one_line, span_text

_MAX_REASON = 500


class HeldDigest(NamedTuple):
    """A digest under a tag of ECR."""

    mirror: MirrorKey
    digest: Digest


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the three commands."""
    if parser.prog.endswith(" held"):
        describe(
            parser, "List the digests that tags may not serve yet, and what each waits for.", "held", "held --json"
        )
        add_stack_options(parser)
        add_output_options(parser)
        return
    if parser.prog.endswith(" admit"):
        what = (
            "Let a tag serve a digest that is held, whatever it waits for, for an urgent fix or where the rule has "
            "`approve`. The tag moves within a minute, if upstream still has the digest."
        )
        describe(parser, what, "admit mirror/python:3.13@sha256:... --reason 'CVE-2026-1234 is fixed'")
    else:
        what = (
            "Never let a tag serve a digest, also if upstream serves it again. If the tag serves it now, it goes back "
            "to what it may serve; if there is nothing, ECR keeps serving it until you delete the tag there. "
            "`pullahead admit` takes the rejection back."
        )
        describe(parser, what, "reject mirror/python:3.13@sha256:... --reason 'compromised, see the incident'")
    parser.add_argument(
        "digest", metavar="MIRROR@DIGEST", type=parsed_by(parse_held_digest), help="REPOSITORY:TAG@sha256:... in ECR"
    )
    parser.add_argument("--reason", metavar="TEXT", default="", help="Why; it is kept, and is part of the event")
    add_stack_options(parser)
    add_output_options(parser)


def parse_held_digest(text: str) -> HeldDigest:
    """Read MIRROR@DIGEST. Raises InvalidReferenceError."""
    named = parse_named_image(text)
    if not named.ecr_name or named.tag is None or named.digest is None:
        raise InvalidReferenceError(
            repr(text[:160]),
            "it names no digest under a tag",
            "Write REPOSITORY:TAG@sha256:..., as `pullahead held` does.",
        )
    return HeldDigest(MirrorKey(named.ecr_name, named.tag), named.digest)


def run(arguments: argparse.Namespace) -> int:
    """Run the command against the deployed stack."""
    with deployed_stack(arguments) as stack:
        return list_held(arguments, stack) if arguments.command == "held" else decide(arguments, stack)


def decide(arguments: argparse.Namespace, stack: DeployedStack) -> int:
    """Remember what a person has decided, with who it was, and have the mirror checked."""
    (mirror, digest), admits = arguments.digest, arguments.command == "admit"
    decision = Decision(digest, admits, stack.caller, now(), one_line(arguments.reason, _MAX_REASON))
    saved = update_record(stack.records, mirror, lambda known: _decided(known, mirror, decision))
    if not isinstance(saved, MirrorRecord):
        raise ConfigError(f"the record of {mirror} is of a newer version of Pullahead: update this command line")
    request = CheckRequest(reason="manual", repository=mirror.repository, tags=(mirror.tag,), asked_at=now())
    stack.queue.send([request])
    verb = "admitted" if admits else "rejected"
    text = f"{verb} {digest} for {mirror} as {decision.by}; a check follows at once: `pullahead why {mirror}`"
    document = {"mirror": str(mirror), "digest": digest, "admitted": admits, "by": decision.by}
    write_result(arguments, text, {**document, "reason": decision.reason or None})
    return DONE


def _decided(known: MirrorRecord | None, mirror: MirrorKey, decision: Decision) -> MirrorRecord:
    if known is None:
        raise ConfigError(f"{mirror} has no record; run `pullahead held` to list what is held")
    if known.admission is None:
        raise ConfigError(f"the rule of {mirror} has no `admit`, or no check has run since it has: nothing is held")
    if decision.admits and known.admission.find(decision.digest) is None:
        raise ConfigError(f"{decision.digest} is not held for {mirror}: {_names(known.admission)}")
    return after_decision_of_person(known, decision)


def _names(seen: SeenDigests) -> str:
    waiting = [each.digest for each in seen.seen if not each.admitted]
    return f"held are {', '.join(waiting)}" if waiting else "nothing is"


def list_held(arguments: argparse.Namespace, stack: DeployedStack) -> int:
    """List what waits, the longest first."""
    found = [
        record for record in stack.records.scan() if isinstance(record, MirrorRecord) and record.waiting is not None
    ]
    held = sorted(found, key=lambda record: (_waiting(record).first_at, str(record.key)))
    at = now()
    text = "\n".join(_line(record, at) for record in held) or "nothing is held"
    write_result(arguments, text, {"held": _documents(held)})
    return DONE


def _documents(held: Sequence[MirrorRecord]) -> list[dict[str, object]]:
    return [
        {
            "mirror": str(record.key),
            "state": record.state,
            "digest": _waiting(record).digest,
            "first_seen": _waiting(record).first_at,
            "until": _waiting(record).until,
            "because": _waiting(record).because,
            "why": _waiting(record).why,
            "reported": _waiting(record).reported,
        }
        for record in held
    ]


def _line(record: MirrorRecord, at: datetime) -> str:
    waiting = _waiting(record)
    until, because = waiting.until, waiting.because
    what = f"until {moment_text(until)}" if until is not None else because.value if because is not None else ""
    state = f"would be {waiting.state.value}" if waiting.reported else waiting.state.value
    seen = f"first seen {span_text(at - waiting.first_at)} ago"
    why = f"; {waiting.why}" if waiting.why else ""
    return f"{state:<8} {record.key}@{waiting.digest}  {what}; {seen}{why}"


def _waiting(record: MirrorRecord) -> WaitingDigest:
    if record.waiting is None:
        raise ValueError(f"nothing waits for {record.key}")
    return record.waiting
