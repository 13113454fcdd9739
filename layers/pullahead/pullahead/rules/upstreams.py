"""Settings of upstream hosts. Decides what may be said of a host; never repeats what may be somebody's password."""

import base64
import binascii
import re

from pullahead.oci import InvalidReferenceError, parse_host
from pullahead.rules.fields import (
    Place,
    Problems,
    is_empty,
    read_entries,
    read_field,
    read_fields,
    read_fitting,
    read_flag,
    read_list,
    read_number,
    read_optional,
    read_text,
    read_word,
)
from pullahead.rules.keys import CREDENTIAL, MAX_REQUESTS_PER_SECOND, RATE_LIMIT, UPSTREAM
from pullahead.rules.model import CredentialSource, RateLimit, UpstreamSettings
from pullahead.rules.yaml_document import Scalar, quoted

_MAX_CA_CHARACTERS = 65_536
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----")
_PERCENT = re.compile(r"[0-9]{1,2}(?:\.[0-9])?%")
_MAX_RESERVE = 0.9

# AWS Secrets Manager API reference, CreateSecret, Name; a colon is in ARNs only.
_SECRET = re.compile(
    r"[A-Za-z0-9/_+=.@-]{1,512}|arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:[!-~]{1,600}"
)
_ROLE = re.compile(r"arn:aws[a-z-]*:iam::[0-9]{12}:role/[\w+=,.@/-]{1,600}", re.ASCII)
_PATH_GLOB = re.compile(r"[a-z0-9._/*?\[\]!-]{1,256}")


def read_upstreams(place: Place, problems: Problems) -> tuple[UpstreamSettings, ...]:
    """Read the settings of all hosts."""
    entries = None if is_empty(place.node) else read_entries(place, problems)
    settings: dict[str, UpstreamSettings] = {}
    for written, entry in (entries or {}).items():
        path = f"{place.path}[{quoted(written)}]"
        at = Place(entry.key.node, path)
        host = _parsed_host(at, written, problems)
        read = _settings(Place(entry.value, path), problems)
        if host in settings:
            problems.add(at, f"the host {host} has settings already, under another name")
        elif host is not None:
            settings[host] = read._replace(host=host)
    return tuple(settings.values())


def _settings(place: Place, problems: Problems) -> UpstreamSettings:
    fields = read_fields(place, UPSTREAM, problems)
    nothing = UpstreamSettings("")
    return UpstreamSettings(
        "",
        read_field(fields, "plain_http", read_flag, problems, absent=nothing.plain_http),
        read_field(fields, "private_addresses", read_flag, problems, absent=nothing.private_addresses),
        read_field(fields, "credentials", _credentials, problems, absent=nothing.credentials),
        read_optional(fields, "ca", _certificates, problems),
        read_field(fields, "token_hosts", _hosts, problems, absent=nothing.token_hosts),
        read_field(fields, "rate_limit", _rate_limit, problems, absent=nothing.rate_limit),
    )


def _hosts(place: Place, problems: Problems) -> tuple[str, ...]:
    return read_list(place, _host, problems)


def _host(place: Place, problems: Problems) -> str | None:
    text = read_text(place, problems)
    return _parsed_host(place, text, problems) if text is not None else None


def _parsed_host(place: Place, text: str, problems: Problems) -> str | None:
    try:
        return parse_host(text)
    except InvalidReferenceError as error:
        problems.add(place, error.cause, error.advice)
        return None


def _credentials(place: Place, problems: Problems) -> tuple[CredentialSource, ...]:
    if isinstance(place.node, Scalar):
        secret = _secret(place, problems)
        return (CredentialSource(secret),) if secret is not None else ()
    return read_list(place, _credential, problems)


def _credential(place: Place, problems: Problems) -> CredentialSource | None:
    before = len(problems.found)
    fields = read_fields(place, CREDENTIAL, problems)
    secret = read_optional(fields, "secret", _secret, problems)
    role = read_optional(fields, "role", _role, problems)
    path = read_field(fields, "path", _path_glob, problems, absent="*")
    if len(problems.found) == before and secret is None and role is None:
        problems.add(place, "it names no account", "Write secret: NAME, or role: ARN for ECR in another account.")
    return CredentialSource(secret or "", path, role)


def _secret(place: Place, problems: Problems) -> str | None:
    hint = "Keep the account in AWS Secrets Manager, and write the secret's name here, never what is in it."
    wrong = "is neither the name nor the ARN of a secret"
    return read_fitting(place, _SECRET.fullmatch, problems, wrong=wrong, hint=hint, repeat=False)


def _role(place: Place, problems: Problems) -> str | None:
    hint = "Write it like arn:aws:iam::123456789012:role/NAME."
    return read_fitting(place, _ROLE.fullmatch, problems, wrong="is no ARN of a role", hint=hint, repeat=False)


def _path_glob(place: Place, problems: Problems) -> str | None:
    hint = "Write it like team-a/* (a star spans slashes)."
    return read_fitting(place, _PATH_GLOB.fullmatch, problems, wrong="fits no repository's path", hint=hint)


def _certificates(place: Place, problems: Problems) -> str | None:
    text = read_text(place, problems)
    if text is None:
        return None
    if "PRIVATE KEY" in text:
        problems.add(place, "it holds a private key", "Take it out, and consider it known: rules are no secret.")
        return None
    if len(text) > _MAX_CA_CHARACTERS:
        problems.add(place, f"it has more than {_MAX_CA_CHARACTERS} characters")
        return None
    found = _CERTIFICATE.findall(text)
    if not found or text.count("-----BEGIN CERTIFICATE-----") != len(found) or not all(map(_is_der, found)):
        problems.add(
            place,
            "it is no certificate in PEM form",
            "Write `ca: |` and below it, indented, from -----BEGIN CERTIFICATE----- to -----END CERTIFICATE-----.",
        )
        return None
    return text


def _is_der(encoded: str) -> bool:
    try:
        return base64.b64decode("".join(encoded.split()), validate=True)[:1] == b"\x30"  # a sequence, as X.509 begins
    except binascii.Error:
        return False


def _rate_limit(place: Place, problems: Problems) -> RateLimit:
    fields = read_fields(place, RATE_LIMIT, problems)
    requests = read_optional(fields, "requests_per_second", _requests_per_second, problems)
    return RateLimit(requests, read_field(fields, "reserve", _share, problems, absent=RateLimit().reserve))


def _requests_per_second(place: Place, problems: Problems) -> float | None:
    number = read_number(place, problems)
    if number is None or 0 < number <= MAX_REQUESTS_PER_SECOND:
        return number
    problems.add(place, f"{number:g} is out of range", f"More than 0, and {MAX_REQUESTS_PER_SECOND} at most.")
    return None


def _share(place: Place, problems: Problems) -> float | None:
    word = read_word(place, problems)
    if word is None:
        return None
    share = float(word.rstrip("%")) / 100 if _PERCENT.fullmatch(word) else None
    if share is not None and share <= _MAX_RESERVE:
        return share
    problems.add(place, f"{quoted(word)} is no such share", f"Write it like 10%, up to {_MAX_RESERVE:.0%}.")
    return None
