"""The account's registry endpoint, asked one request at a time: neither retries nor redirects are hidden."""

from datetime import datetime
from typing import Any, Final, NamedTuple
from urllib.parse import urljoin

import requests

from tests.live.site import Site

_TIMEOUT_SECONDS: Final = 60


class Endpoint(NamedTuple):
    """The endpoint, with the login of `GetAuthorizationToken`."""

    url: str
    authorization: str
    expires_at: datetime

    def ask(self, method: str, path: str, **more: Any) -> requests.Response:
        """Send one request."""
        headers = {"Authorization": self.authorization, **more.pop("headers", {})}
        return requests.request(
            method,
            urljoin(self.url, path),
            headers=headers,
            timeout=_TIMEOUT_SECONDS,
            allow_redirects=False,
            **more,
        )


def endpoint(site: Site) -> Endpoint:
    """Log in, once."""

    def log_in() -> Endpoint:
        (granted,) = site.ecr.get_authorization_token()["authorizationData"]
        return Endpoint(granted["proxyEndpoint"], f"Basic {granted['authorizationToken']}", granted["expiresAt"])

    return site.once("login", log_in)


def answered(answer: requests.Response) -> str:
    """Write status and error codes of an answer, and no address, which may hold a signature."""
    try:
        errors = answer.json().get("errors", [])
    except (ValueError, AttributeError):
        errors = []
    return " ".join([str(answer.status_code), *(str(error.get("code")) for error in errors)])


def download(location: str, span: str) -> requests.Response:
    """Read a range of bytes where a registry redirected to, without a login."""
    return requests.get(location, headers={"Range": span}, timeout=_TIMEOUT_SECONDS)
