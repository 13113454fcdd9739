"""Which proxy the environment wants for an address, as curl and requests read it: HTTPS_PROXY, HTTP_PROXY, NO_PROXY."""

import base64
import os
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit


class Proxy(NamedTuple):
    """Where a proxy listens, and what it wants to be told."""

    host: str
    port: int
    headers: Mapping[str, str]


def find_proxy(url: SplitResult) -> Proxy | None:
    """Find the proxy for an address; every connection goes through it as a tunnel (CONNECT)."""
    if not any(name.lower().endswith("_proxy") for name in os.environ):
        return None
    # Imported here: it costs as much as all else that a request needs, and hardly anybody has a proxy.
    from urllib.request import getproxies_environment, proxy_bypass_environment  # noqa: PLC0415

    address = getproxies_environment().get(url.scheme)
    if not address or proxy_bypass_environment(url.netloc):
        return None
    proxy = urlsplit(address if "://" in address else f"http://{address}")
    headers = {}
    if proxy.username is not None:
        user = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
        headers["Proxy-Authorization"] = f"Basic {base64.b64encode(user.encode()).decode()}"
    return Proxy(proxy.hostname or "", proxy.port or 80, headers)
