"""A good signature of which anything at all is changed: it is refused, or what was changed says nothing."""

import base64
import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest

from pullahead.rules.signature_policy import SignaturePolicy
from tests.unit.admission.signatures.signed_images import (
    by_key,
    cosign2_keyed,
    cosign2_keyless,
    dsse_bundle,
    keyed_bundle,
    message_bundle,
    statement,
    verify_bundles,
    verify_cosign2,
)

WITH_KEY = SignaturePolicy((by_key(),))
BUNDLES = {
    "statement": dsse_bundle(statement()),
    "statement in Rekor 2": dsse_bundle(statement(), rekor_version=2),
    "manifest": message_bundle(),
    "manifest in Rekor 2": message_bundle(rekor_version=2),
    "statement with a key": keyed_bundle(statement()),
}
NOTHING_RESTS_ON: dict[str, set[str]] = {
    "statement with a key": {"verificationMaterial.publicKey.hint", "dsseEnvelope.signatures[0].keyid"},
    # Rekor 2 promises nothing: what it proves is the place in its tree, which is in the inclusion proof.
    "statement in Rekor 2": {"verificationMaterial.tlogEntries[0].logIndex"},
    "manifest in Rekor 2": {"verificationMaterial.tlogEntries[0].logIndex"},
}


def leaves(document: Any, path: str = "") -> Iterator[tuple[str, list[Any], Any]]:
    """Yield the path of every value, the keys that lead there, and the value."""
    if isinstance(document, dict | list):
        items = document.items() if isinstance(document, dict) else enumerate(document)
        for key, value in items:
            step = f"[{key}]" if isinstance(key, int) else f".{key}"
            for below, keys, leaf in leaves(value, f"{path}{step}"):
                yield below, [key, *keys], leaf
    else:
        yield path.removeprefix("."), [], document


def changes_of(value: Any) -> Iterator[Any]:
    """Yield other values of the same form."""
    if isinstance(value, int):
        yield value + 1
        return
    if value.isdigit():
        yield str(int(value) + 1)
        return
    try:
        content = bytearray(base64.b64decode(value, validate=True))
    except ValueError:
        content = bytearray()
    if len(content) > 3:
        for place in (0, len(content) // 2, len(content) - 1):
            content[place] ^= 1
            yield base64.b64encode(content).decode()
            content[place] ^= 1
        return
    yield f"{value}x"
    yield ""


def changed(document: Any, keys: list[Any], value: Any) -> Any:
    copied = copy.deepcopy(document)
    at = copied
    for key in keys[:-1]:
        at = at[key]
    at[keys[-1]] = value
    return copied


def without(document: Any, keys: list[Any]) -> Any:
    copied = copy.deepcopy(document)
    at = copied
    for key in keys[:-1]:
        at = at[key]
    del at[keys[-1]]
    return copied


@pytest.mark.parametrize("name", BUNDLES)
def test_bundle_of_which_anything_is_changed_or_left_out(name: str) -> None:
    bundle, policy = BUNDLES[name], WITH_KEY if "key" in name else None
    assert verify_bundles(bundle, policy=policy).is_admitted
    admitted = set()
    for path, keys, value in leaves(bundle):
        others = [changed(bundle, keys, other) for other in changes_of(value)]
        if any(verify_bundles(other, policy=policy).is_admitted for other in (*others, without(bundle, keys))):
            admitted.add(path)
    assert admitted == NOTHING_RESTS_ON.get(name, set())


@pytest.mark.parametrize("name", ["signature", "certificate", "bundle", "chain"])
def test_annotation_of_cosign_2_of_which_anything_is_changed(name: str) -> None:
    layer = cosign2_keyless()
    (key,) = (each for each in layer.annotations or {} if each.endswith(f"/{name}"))
    admitted = []
    for value in _changed_annotations((layer.annotations or {})[key]):
        notes = dict(layer.annotations or {}) | {key: value}
        admitted.append(verify_cosign2(layer._replace(annotations=notes)).is_admitted)
    assert set(admitted) == {name == "chain"}  # nothing rests on the chain: the trust root has it


def _changed_annotations(text: str) -> Iterator[str]:
    if text.startswith("{"):
        document = json.loads(text)
        for _, keys, value in leaves(document):
            yield json.dumps(without(document, keys))
            yield from (json.dumps(changed(document, keys, other)) for other in changes_of(value))
        return
    for place in range(30, len(text) * 3 // 4, 40):
        yield text[:place] + ("A" if text[place] != "A" else "B") + text[place + 1 :]


def test_payload_of_cosign_2_of_which_any_byte_is_changed() -> None:
    layer = cosign2_keyed()
    for place in range(len(layer.content)):
        content = layer.content[:place] + bytes([layer.content[place] ^ 1]) + layer.content[place + 1 :]
        assert not verify_cosign2(layer._replace(content=content), policy=WITH_KEY).is_admitted
