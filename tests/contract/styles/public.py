"""Public registries, each with the manners that its clients have met. What they have in common is left out.

Sources: Docker documentation, "Usage and limits" and "Registry authentication"; containers/image 618 and quay/quay 1310
(Quay), renovate 36103 and stargz-snapshotter 167 (GHCR), kubernetes/registry.k8s.io's description of its redirects;
Amazon ECR Public user guide, "Registry authentication" and "Service quotas".
"""

import dataclasses
from collections.abc import Collection, Mapping
from urllib.parse import urlencode

from local.registry.answers import Answer, error_answer, json_answer
from local.registry.content import Content
from pullahead.registry.credentials import Credential
from tests.contract.styles.parts import IMAGE, Storage, Tokened, TokenService, api, content_of, scope_of
from tests.fakes.internet import HttpRequest, Site


class DockerHub(Tokened):
    """Tokens come from another host of the same domain; GETs of manifests are counted, HEADs and blobs are not."""

    host, repository = "registry-1.docker.io", "library/alpine"

    def __init__(self, remaining: int = 100, known: Collection[Credential] | None = None) -> None:
        tokens = TokenService("https://auth.docker.io/token", "registry.docker.io", known=known)
        super().__init__(content_of(self.repository, "3.20"), tokens, Storage("production.cloudflare.docker.com"))
        self.remaining = remaining

    def answer(self, asked: HttpRequest) -> Answer:
        if asked.method == "GET" and "/manifests/" in asked.path:
            if self.remaining <= 0:
                message = "You have reached your pull rate limit. You may increase the limit by authenticating"
                return error_answer(429, "TOOMANYREQUESTS", message, self._limits())
            self.remaining -= 1
        answer = super().answer(asked)
        return dataclasses.replace(answer, headers={**answer.headers, **self._limits()})

    def _limits(self) -> Mapping[str, str]:
        return {"ratelimit-limit": "100;w=21600", "ratelimit-remaining": f"{self.remaining};w=21600"}


class Ghcr(Tokened):
    """A token is always required; blobs are at signed addresses that expire; tags come in pages, oldest first."""

    host, repository = "ghcr.io", "team/app"

    def __init__(self, tags: Collection[str] = ("1.0",), uses: int = 1) -> None:
        self.signed = Storage("pkg-containers.githubusercontent.com", uses=uses)
        super().__init__(content_of(self.repository, *tags), TokenService("https://ghcr.io/token"), self.signed)
        self._listed = list(tags)

    def answer(self, asked: HttpRequest) -> Answer:
        return self._page(asked) if asked.path.endswith("/tags/list") else super().answer(asked)

    def _page(self, asked: HttpRequest) -> Answer:
        size = min(int(asked.query.get("n", ["100"])[0]), 100)
        last = asked.query.get("last", [""])[0]
        first = self._listed.index(last) + 1 if last else 0
        page = self._listed[first : first + size]
        more = urlencode({"last": page[-1], "n": size}) if first + size < len(self._listed) else ""
        link = {"Link": f'</v2/{self.repository}/tags/list?{more}>; rel="next"'} if more else {}
        return json_answer(200, {"name": self.repository, "tags": page}, link)


class Quay:
    """Pages of fifty whatever is asked for, a 429 in HTML, blobs that claim to be encoded, and no digest header."""

    host, repository = "quay.io", "team/app"

    def __init__(self, tags: Collection[str] = ("1.0",)) -> None:
        self._listed = list(tags)
        self._content = content_of(self.repository, *tags)
        self.busy = 0

    def sites(self) -> Mapping[str, Site]:
        return {self.host: self._registry}

    def _registry(self, asked: HttpRequest) -> Answer:
        if self.busy:
            self.busy -= 1
            return Answer(429, {"Content-Type": "text/html"}, b"<html><h1>429 Too Many Requests</h1></html>")
        if asked.path.endswith("/tags/list"):
            return self._page(asked)
        answer = api(self._content, asked)
        headers = {name: value for name, value in answer.headers.items() if name != "Docker-Content-Digest"}
        if "/blobs/" in asked.path:
            headers["Content-Encoding"] = "gzip"
        return dataclasses.replace(answer, headers=headers)

    def _page(self, asked: HttpRequest) -> Answer:
        first = int(asked.query.get("next_page", ["0"])[0])
        link = f'</v2/{self.repository}/tags/list?n=50&next_page={first + 50}>; rel="next"'
        page = self._listed[first : first + 50]
        return json_answer(200, {"tags": page}, {"Link": link} if first + 50 < len(self._listed) else {})


class Kubernetes:
    """registry.k8s.io: manifests are at a regional host that asks for a token of its own, blobs in a bucket."""

    host, repository = "registry.k8s.io", "pause"
    region, bucket = (
        "europe-west1-docker.pkg.dev",
        "prod-registry-k8s-io-eu-west-1.s3.dualstack.eu-west-1.amazonaws.com",
    )

    def __init__(self) -> None:
        self._content = content_of(f"k8s-artifacts-prod/images/{self.repository}", "3.9")
        self._tokens = TokenService(f"https://{self.region}/v2/token", self.region)

    def sites(self) -> Mapping[str, Site]:
        return {
            self.host: self._redirect,
            self.region: self._regional,
            self.bucket: self._without_authorization,
        }

    def _redirect(self, asked: HttpRequest) -> Answer:
        host = self.bucket if "/blobs/" in asked.path else self.region
        path = asked.path.removeprefix("/v2")
        return Answer(307, {"Location": f"https://{host}/v2/k8s-artifacts-prod/images{path}"})

    def _regional(self, asked: HttpRequest) -> Answer:
        if asked.path == "/v2/token":
            return self._tokens.issue(asked)
        return api(self._content, asked) if self._tokens.lets_in(asked) else self._tokens.challenge(asked)

    def _without_authorization(self, asked: HttpRequest) -> Answer:
        return api(self._content, asked) if asked.authorization is None else Answer(400)


class Microsoft:
    """mcr.microsoft.com: no token is required, and blobs are at a regional data host."""

    host, repository = "mcr.microsoft.com", "dotnet/runtime"

    def __init__(self) -> None:
        self._content = content_of(self.repository, "8.0")
        self._storage = Storage("westeurope.data.mcr.microsoft.com")

    def sites(self) -> Mapping[str, Site]:
        return {self.host: self._registry, self._storage.host: self._storage.site(self._content)}

    def _registry(self, asked: HttpRequest) -> Answer:
        return self._storage.redirect(asked) if "/blobs/" in asked.path else api(self._content, asked)


class EcrPublic(Tokened):
    """An anonymous token for everything; the rate limit is answered by 429 without Retry-After."""

    host, repository = "public.ecr.aws", "docker/library/alpine"

    def __init__(self) -> None:
        tokens = TokenService("https://public.ecr.aws/token/", "public.ecr.aws")
        super().__init__(content_of(self.repository, "3.20"), tokens, Storage("d5l0dvt14r5h8.cloudfront.net"))
        self.busy = 0

    def challenge(self, asked: HttpRequest) -> Answer:
        if asked.authorization in self.tokens.granted:
            return self.answer(asked)
        challenge = f'Bearer realm="{self.tokens.realm}",service="public.ecr.aws",scope="aws"'
        return error_answer(401, "DENIED", "Not Authorized", {"WWW-Authenticate": challenge})

    def answer(self, asked: HttpRequest) -> Answer:
        if self.busy:
            self.busy -= 1
            return error_answer(429, "TOOMANYREQUESTS", "Rate exceeded")
        return super().answer(asked)


class Chainguard(Tokened):
    """cgr.dev: a token that is shown for another scope than its own is refused for good, by 403."""

    host, repositories = "cgr.dev", ("chainguard/static", "chainguard/python")

    def __init__(self) -> None:
        content = Content()
        for repository in self.repositories:
            content.push(IMAGE, repository, "latest")
        super().__init__(content, TokenService("https://cgr.dev/token", "cgr.dev"))

    def challenge(self, asked: HttpRequest) -> Answer:
        if asked.authorization is None:
            return super().challenge(asked)
        return error_answer(403, "DENIED", f"no access to {scope_of(asked)}")
