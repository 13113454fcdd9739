"""Which proxy the environment wants for an address, as curl and requests read it: HTTPS_PROXY, HTTP_PROXY, NO_PROXY."""

import base64
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import SplitResult, unquote, urlsplit


@dataclass(frozen=True)
class Proxy:
    """Where a proxy listens, and what it wants to be told."""

    host: str
    port: int
    headers: Mapping[str, str] = field(repr=False)


def find_proxy(url: SplitResult) -> Proxy | None:
    """Find the proxy for an address; every connection goes through it as a tunnel (CONNECT)."""
    if not any(name.lower().endswith("_proxy") for name in os.environ):
        return None
    # Imported here: it costs as much as all else that a request needs, and hardly anybody has a proxy.
    from urllib.request import getproxies, proxy_bypass  # noqa: PLC0415

    address = getproxies().get(url.scheme)
    if not address or proxy_bypass(url.netloc):
        return None
    proxy = urlsplit(address if "://" in address else f"http://{address}")
    headers = {}
    if proxy.username is not None:
        user = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
        headers["Proxy-Authorization"] = f"Basic {base64.b64encode(user.encode()).decode()}"
    return Proxy(proxy.hostname or "", proxy.port or 80, headers)
