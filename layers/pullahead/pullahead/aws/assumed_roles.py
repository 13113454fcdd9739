"""Clients of AWS services by Region and by the role that they act as. Decides how long an assumed role is used."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

_EARLY_SECONDS = 300.0
_SESSION = "pullahead"  # AWS STS API reference, AssumeRole, RoleSessionName: what CloudTrail shows
_MAX_CLIENTS = 200


@dataclass(frozen=True)
class RoleKeys:
    """What an assumed role signs with."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str = field(repr=False)


MakeClient = Callable[[str, str | None, RoleKeys | None], Any]
"""Makes a client of a service: in a Region, or the one of the environment; as a role, or as the process itself."""


class _Kept(NamedTuple):
    client: Any
    use_until: float


class Clients:
    """Makes clients when first needed, and those of a role anew before its keys expire. For several threads."""

    def __init__(self, make: MakeClient, clock: Callable[[], float]) -> None:
        self._make, self._clock = make, clock
        self._kept: dict[tuple[str, str | None, str | None], _Kept] = {}
        self._lock = threading.Lock()  # also because boto3's session may not be used by two threads at once

    def of(self, service: str, region: str | None = None, role: str | None = None) -> Any:
        """Return a client. Raises what STS does where the role may not be assumed."""
        key = (service, region, role)
        with self._lock:
            kept = self._kept.get(key)
            if kept is None or self._clock() >= kept.use_until:
                if len(self._kept) >= _MAX_CLIENTS:
                    self._kept.clear()
                kept = self._kept[key] = self._new(service, region, role)
            return kept.client

    def _new(self, service: str, region: str | None, role: str | None) -> _Kept:
        if role is None:
            return _Kept(self._make(service, region, None), float("inf"))
        given = self._make("sts", None, None).assume_role(RoleArn=role, RoleSessionName=_SESSION)["Credentials"]
        keys = RoleKeys(given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"])
        return _Kept(self._make(service, region, keys), given["Expiration"].timestamp() - _EARLY_SECONDS)
