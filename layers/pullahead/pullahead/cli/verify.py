"""`pullahead verify`: who signed an image, and what is attested of it, proven by what its registry keeps beside it."""

import argparse
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pullahead.cli.options import RegistryOptions, UsageError, add_registry_options, describe, parse_file, parsed_by
from pullahead.cli.output import DONE, FAILED, say, write_result
from pullahead.cli.registries import Registries
from pullahead.errors import ConfigError
from pullahead.layouts.names import complete_source, parse_location
from pullahead.oci import Reference, Repository, parse_reference
from pullahead.oci.registries import CopySource
from pullahead.rules.signature_policy import (
    AttestationDemand,
    KeylessSigner,
    KeySigner,
    SignaturePolicy,
    Signer,
    check_issuer,
    check_name,
    check_pattern,
    check_source,
)

if TYPE_CHECKING:
    from pullahead.admission.signatures.trust_root import TrustRoot
    from pullahead.admission.signatures.verdict import SignatureVerdict
    from pullahead.refresh.verify_signatures import Prove

_PACKAGES: Final = ("cryptography", "sigstore")
_MAX_FILE_BYTES: Final = 1024 * 1024


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    describe(
        parser,
        "Verify that an image is signed by whom you trust: by an identity that Sigstore certified (--identity and "
        "--issuer), or with a key (--key). Reads cosign's signatures beside the image, of cosign 3 and 2, and connects "
        "to its registry alone. With --attestation, such an attestation must be there, signed by the same, in place of "
        "a signature. Needs the package sigstore (pipx install '.[verify]').",
        "verify ghcr.io/org/app:1 --identity 'https://github.com/org/app/.github/workflows/release.yml@refs/tags/*' "
        "--issuer https://token.actions.githubusercontent.com",
        "verify registry.example/team/app:1 --key cosign.pub",
        "verify ghcr.io/org/app:1 --identity ... --issuer ... --attestation https://slsa.dev/provenance/v1 "
        "--source https://github.com/org/app",
        failed="Failure, or UNSIGNED, UNTRUSTED or UNKNOWN",
    )
    parser.add_argument("reference", metavar="IMAGE", type=parsed_by(parse_location), help="Image, by tag or by digest")
    _add_signer_options(parser)
    _add_attestation_options(parser)
    parser.add_argument(
        "--trust-root",
        metavar="FILE",
        type=parsed_by(parse_file),
        help="A trusted_root.json of Sigstore (default: that of its public service, as of this version of Pullahead)",
    )
    add_registry_options(parser)


def _add_signer_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--identity",
        metavar="NAME",
        type=parsed_by(_checked(check_pattern)),
        help="Whom the signer's certificate names, a URL or an address of mail: the whole of it. * is any text without "
        "/ and @, ** any text",
    )
    parser.add_argument(
        "--issuer",
        metavar="URL",
        type=parsed_by(_checked(check_issuer)),
        help="Who vouched for the identity: exactly this URL",
    )
    parser.add_argument(
        "--key", metavar="FILE", type=parsed_by(parse_file), help="The signer's public key, in PEM form"
    )
    parser.add_argument(
        "--policy",
        metavar="FILE",
        type=parsed_by(parse_file),
        help="A file of several signers and attestations, in place of these options (docs/verify.md)",
    )
    parser.add_argument(
        "--signed-as",
        metavar="REPOSITORY",
        action="append",
        default=[],
        type=parsed_by(_parse_repository),
        help="A signature of cosign 2 may name this repository, as where an image was copied from (repeatable)",
    )


def _add_attestation_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--attestation",
        metavar="TYPE",
        type=parsed_by(_checked(check_name)),
        help="Demand an attestation of this predicate type, such as https://slsa.dev/provenance/v1",
    )
    parser.add_argument(
        "--builder",
        metavar="ID",
        type=parsed_by(_checked(check_pattern)),
        help="The builder that an SLSA provenance must name; * and ** as in --identity",
    )
    parser.add_argument(
        "--source",
        metavar="URL",
        type=parsed_by(_checked(check_source)),
        help="The repository that an SLSA provenance must name; * and ** as in --identity",
    )


def run(arguments: argparse.Namespace) -> int:
    """Verify an image, and say what was proven."""
    policy = policy_of(arguments)
    reference: Reference = complete_source(arguments.reference)
    registry = Registries(RegistryOptions.of(arguments)).reader(reference.repository)
    image, verdict = verify_reference(reference, registry, policy, arguments.trust_root)
    write_result(arguments, verdict_text(image, verdict), verdict_document(image, verdict))
    return DONE if verdict.is_admitted else FAILED


def verify_reference(
    reference: Reference, registry: CopySource, policy: SignaturePolicy, trust_root: Path | None
) -> tuple[Reference, "SignatureVerdict"]:
    """Verify what a reference names now; returns it by digest, with the verdict.

    Raises ConfigError where the packages are missing, a key is none, or the trust root is none; RegistryError where the
    image cannot be read.
    """
    require_packages()
    from pullahead.admission.signatures.verify import check_keys, verify_image  # noqa: PLC0415 - not everybody has its packages

    check_keys(policy)  # before anything is asked for
    now = datetime.now(UTC)
    trust = _trust_root(trust_root) if policy.needs_trust_root else None
    for problem in trust.problems(now) if trust is not None else ():
        say(problem)
    root = registry.get_manifest(reference)
    image = reference.at(root.descriptor.digest)
    return image, verify_image(image, root.content, policy, registry, trust, now)


def prover(registry: CopySource, find: Callable[[str], object] = find_spec) -> "Prove":
    """Make what verifies images of a registry by the shipped trust root, or says which packages are missing."""

    def prove(image: Reference, policy: SignaturePolicy) -> "SignatureVerdict":
        require_packages(find)
        from pullahead.admission.signatures.prove import ProveSignatures  # noqa: PLC0415 - not everybody has its packages

        return ProveSignatures(registry, lambda: _trust_root(None), lambda: datetime.now(UTC))(image, policy)

    return prove


def policy_of(arguments: argparse.Namespace) -> SignaturePolicy:
    """Make the policy that a command line demands. Raises UsageError."""
    if (arguments.identity is None) != (arguments.issuer is None):
        raise UsageError("--identity and --issuer belong together: an issuer may vouch for anybody's identity")
    if sum(each is not None for each in (arguments.identity, arguments.key, arguments.policy)) != 1:
        raise UsageError("say whose signature is trusted: either --identity and --issuer, or --key, or --policy")
    if arguments.key is not None and arguments.trust_root is not None:
        raise UsageError("--trust-root is for signatures without a key")
    if arguments.attestation is None and (arguments.builder or arguments.source):
        raise UsageError("--builder and --source are of an --attestation, such as https://slsa.dev/provenance/v1")
    if arguments.policy is not None:
        if arguments.attestation is not None or arguments.signed_as:
            raise UsageError("--attestation and --signed-as belong into the file of --policy")
        return policy_file(arguments.policy)
    signer: Signer
    if arguments.key is not None:
        signer = KeySigner(_read(arguments.key).decode(errors="replace"), arguments.key.name)
    else:
        signer = KeylessSigner(arguments.issuer, arguments.identity)
    demands: tuple[AttestationDemand, ...] = ()
    if arguments.attestation is not None:
        demands = (AttestationDemand(arguments.attestation, arguments.builder, arguments.source),)
    return SignaturePolicy((signer,), demands, signed_as=tuple(arguments.signed_as))


def require_packages(find: Callable[[str], object] = find_spec) -> None:
    """Check that what proves signatures is installed. Raises ConfigError, which says how to install it."""
    missing = [name for name in _PACKAGES if find(name) is None]
    if missing:
        raise ConfigError(
            f"verify needs the package {' and '.join(missing)}: install Pullahead with it (pipx install '.[verify]' or "
            f"uv tool install '.[verify]', in the clone), or add it (pipx inject pullahead 'sigstore>=4.5,<5')"
        )


def policy_file(path: Path) -> SignaturePolicy:
    """Read a policy, and the keys beside it that it names. Raises RulesError."""
    from pullahead.rules.signature_rules import load_signature_policy  # noqa: PLC0415 - imports YAML

    text = _read(path).decode(errors="replace")
    return load_signature_policy(text, source=str(path), read_key=lambda name: _key_beside(path, name))


def _key_beside(policy: Path, name: str) -> str:
    path = policy.parent / name
    if not path.is_file():
        raise ConfigError(f"there is no file {name} beside {policy.name}")
    return _read(path).decode(errors="replace")


def _trust_root(path: Path | None) -> "TrustRoot":
    from pullahead.admission.signatures.trust_root import TrustRoot, shipped_trust_root  # noqa: PLC0415 - as above

    return shipped_trust_root() if path is None else TrustRoot(_read(path), str(path))


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        content = file.read(_MAX_FILE_BYTES + 1)
    if len(content) > _MAX_FILE_BYTES:
        raise ConfigError(f"{path} has more than {_MAX_FILE_BYTES} bytes")
    return content


def _checked(check: Callable[[str], None]) -> Callable[[str], str]:
    def parse(text: str) -> str:
        check(text)
        return text

    return parse


def _parse_repository(text: str) -> Repository:
    return parse_reference(text, default_tag=None).repository


def verdict_text(image: Reference, verdict: "SignatureVerdict") -> str:
    """Write a verdict for people: the outcome with its reason, and each thing that was looked at."""
    lines = [str(image), f"{verdict.outcome}: {verdict.reason}"]
    return "\n".join([*lines, *(f"  {each.finding}: {each}" for each in verdict.evidence)])


def verdict_document(image: Reference, verdict: "SignatureVerdict") -> dict[str, Any]:
    """Describe a verdict as JSON."""
    return {
        "reference": str(image),
        "digest": image.digest,
        "outcome": verdict.outcome,
        "reason": verdict.reason,
        "evidence": [each._asdict() for each in verdict.evidence],
    }
