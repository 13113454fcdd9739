"""Clients of AWS services by Region and by the role that they act as. Decides how long an assumed role is used."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pullahead.caching import Expiring, TtlCache

_EARLY_SECONDS = 300.0
_SESSION = "pullahead"  # AWS STS API reference, AssumeRole, RoleSessionName: what CloudTrail shows
_MAX_CLIENTS = 200


@dataclass(frozen=True)
class RoleKeys:
    """The temporary keys of an assumed role."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str = field(repr=False)


MakeClient = Callable[[str, str | None, RoleKeys | None], Any]
"""Makes a client of a service, in a Region or in the environment's, as a role or as the process itself."""


class Clients:
    """Makes clients when first needed, and those of a role anew before its keys expire. For several threads."""

    def __init__(self, make: MakeClient, clock: Callable[[], float]) -> None:
        self._make, self._clock = make, clock
        self._clients = TtlCache[tuple[str, str | None, str | None], Any, float](_MAX_CLIENTS)
        self._lock = threading.Lock()  # a role is assumed once

    def of(self, service: str, region: str | None = None, role: str | None = None) -> Any:
        """Return a client. Raises what STS does where the role may not be assumed."""
        key = (service, region, role)
        return self._clients.get_or_load(key, self._clock(), lambda: self._new(service, region, role))

    def _new(self, service: str, region: str | None, role: str | None) -> Expiring[Any, float]:
        with self._lock:
            if role is None:
                return Expiring(self._make(service, region, None), float("inf"))
            sts = self._make("sts", None, None)
            granted = sts.assume_role(RoleArn=role, RoleSessionName=_SESSION)["Credentials"]
            keys = RoleKeys(granted["AccessKeyId"], granted["SecretAccessKey"], granted["SessionToken"])
            return Expiring(self._make(service, region, keys), granted["Expiration"].timestamp() - _EARLY_SECONDS)
