"""Registries of clouds, vendors and of one's own, each with the manners that its clients have met.

Sources: Azure/acr 217 and "ACR authentication with OAuth2"; Google Artifact Registry documentation, "Authentication",
and google/go-containerregistry's `google.List` (manifest and child maps); NVIDIA NGC user guide, "Docker login";
Amazon ECR user guide, "Private registry authentication"; GitLab documentation, "Container registry API"; Harbor
documentation, "Robot accounts"; JFrog RTFACT-18971; codeberg.org's and Forgejo's own answers.
"""

from collections.abc import Mapping, Sequence

from local.registry.answers import Answer, error_answer, json_answer
from local.registry.content import Content
from pullahead.registry.credentials import Credential
from tests.contract.styles.parts import IMAGE, Storage, Tokened, TokenService, api, content_of
from tests.fakes.internet import HttpRequest, Site


class Azure(Tokened):
    """ACR: the token is called `access_token`, and the storage takes no Authorization beside its signature."""

    host, repository = "mine.azurecr.io", "team/app"
    known = Credential("pull-token", "azure-secret")

    def __init__(self) -> None:
        realm = f"https://{self.host}/oauth2/token"
        refusal = "<Error><Message>Authentication information is not given in the correct format</Message></Error>"
        super().__init__(
            content_of(self.repository),
            TokenService(realm, self.host, field="access_token", known=[self.known]),
            Storage("weumanaged7.blob.core.windows.net", refusal),
        )


class Google(Tokened):
    """GAR and gcr.io: a token for each repository, and listings that hold every manifest beside the tags."""

    host, repositories = "europe-west1-docker.pkg.dev", ("project/home/app", "project/home/other")
    known = Credential("_json_key", '{"type": "service_account", "private_key": "google-secret"}')

    def __init__(self) -> None:
        content = Content()
        for repository in self.repositories:
            content.push(IMAGE, repository, "1.0")
        super().__init__(content, TokenService(f"https://{self.host}/v2/token", known=[self.known]))

    def answer(self, asked: HttpRequest) -> Answer:
        if not asked.path.endswith("/tags/list"):
            return super().answer(asked)
        entry = {"imageSizeBytes": "5000", "tag": ["1.0"], "timeCreatedMs": "0", "timeUploadedMs": "1700000000000"}
        return json_answer(200, {"child": [], "manifest": {"sha256:" + "0" * 64: entry}, "tags": ["1.0"]})


class Nvidia(Tokened):
    """nvcr.io: the user's name is always `$oauthtoken`."""

    host, repository = "nvcr.io", "nvidia/cuda"
    known = Credential("$oauthtoken", "ngc-secret")

    def __init__(self) -> None:
        tokens = TokenService(f"https://{self.host}/proxy_auth", known=[self.known])
        super().__init__(content_of(self.repository), tokens)


class Ecr:
    """A private ECR: Basic with a password of twelve hours, and layers in a bucket behind a signature."""

    host, repository = "123456789012.dkr.ecr.eu-west-1.amazonaws.com", "team/app"
    known = Credential("AWS", "ecr-password")

    def __init__(self) -> None:
        self._content = content_of(self.repository)
        self._storage = Storage("prod-eu-west-1-starport-layer-bucket.s3.eu-west-1.amazonaws.com")

    def sites(self) -> Mapping[str, Site]:
        return {self.host: self._registry, self._storage.host: self._storage.site(self._content)}

    def _registry(self, asked: HttpRequest) -> Answer:
        if asked.authorization != self.known.basic:
            challenge = {"WWW-Authenticate": f'Basic realm="https://{self.host}/",service="ecr.amazonaws.com"'}
            return Answer(401, {**challenge, "Content-Type": "text/plain"}, b"Not Authorized")
        return self._storage.redirect(asked) if "/blobs/" in asked.path else api(self._content, asked)


class GitLab(Tokened):
    """Tokens come from gitlab.com, and the link to the next page is a whole address."""

    host, repository = "registry.gitlab.com", "group/project/app"
    known = Credential("deploy-token", "gitlab-secret")

    def __init__(self, tags: Sequence[str] = ("1.0",)) -> None:
        tokens = TokenService("https://gitlab.com/jwt/auth", "container_registry", known=[self.known])
        super().__init__(content_of(self.repository, *tags), tokens)

    def answer(self, asked: HttpRequest) -> Answer:
        if not asked.path.endswith("/tags/list"):
            return super().answer(asked)
        return sorted_page(self.content, self.repository, asked, 100, f"https://{self.host}{asked.path}")


class Harbor(Tokened):
    """A registry of one's own within the network: a private address, a private CA, a robot with a dollar."""

    host, repository = "harbor.corp.example", "library/app"
    known = Credential("robot$puller", "harbor-secret")

    def __init__(self) -> None:
        tokens = TokenService(f"https://{self.host}/service/token", "harbor-registry", known=[self.known])
        super().__init__(content_of(self.repository), tokens)


class Artifactory(Tokened):
    """A HEAD's challenge names no scope, and the next page's link lacks the virtual repository in front."""

    host, repository = "artifacts.example", "docker-virtual/team/app"
    known = Credential("reader", "artifactory-secret")

    def __init__(self, tags: Sequence[str] = ("1.0",)) -> None:
        tokens = TokenService(f"https://{self.host}/v2/token", self.host, known=[self.known])
        super().__init__(content_of(self.repository, *tags), tokens)

    def challenge(self, asked: HttpRequest) -> Answer:
        if asked.method != "HEAD":
            return super().challenge(asked)
        header = f'Bearer realm="{self.tokens.realm}",service="{self.host}"'
        return Answer(401, {"WWW-Authenticate": header})

    def answer(self, asked: HttpRequest) -> Answer:
        if not asked.path.endswith("/tags/list"):
            return super().answer(asked)
        return sorted_page(self.content, self.repository, asked, 2, "/v2/team/app/tags/list")


class Nexus:
    """Basic only, and nothing that would tell HEAD from nothing: HEAD is refused, by whatever status it likes."""

    host, repository = "nexus.example", "team/app"
    known = Credential("reader", "nexus-secret")

    def __init__(self, head_status: int) -> None:
        self._head_status = head_status
        self._content = content_of(self.repository)

    def sites(self) -> Mapping[str, Site]:
        return {self.host: self._registry}

    def _registry(self, asked: HttpRequest) -> Answer:
        if asked.authorization != self.known.basic:
            return Answer(401, {"WWW-Authenticate": 'BASIC realm="Sonatype Nexus Repository Manager"'})
        if asked.method == "HEAD":
            return Answer(self._head_status, {"Content-Type": "text/html"})
        return api(self._content, asked)


class Forgejo(Tokened):
    """codeberg.org: two challenges in one header, the bearer's scope a star, and no credential needed for one."""

    host, repository = "codeberg.org", "forgejo/forgejo"

    def __init__(self) -> None:
        tokens = TokenService(f"https://{self.host}/v2/token", "container_registry")
        super().__init__(content_of(self.repository), tokens)

    def challenge(self, asked: HttpRequest) -> Answer:
        if asked.authorization in self.tokens.granted:
            return self.answer(asked)
        wanted = f'realm="{self.tokens.realm}",service="container_registry",scope="*"'
        return error_answer(401, "UNAUTHORIZED", "", {"WWW-Authenticate": f"Bearer {wanted}, Basic {wanted}"})


def sorted_page(content: Content, repository: str, asked: HttpRequest, size: int, address: str) -> Answer:
    """Return one page of tags, with a link that begins with the given address."""
    following = [tag for tag in content.list_tags(repository) or () if tag > asked.query.get("last", [""])[0]]
    page = following[:size]
    link = f'<{address}?last={page[-1]}&n={size}>; rel="next"'
    return json_answer(200, {"tags": page}, {"Link": link} if len(following) > size else {})
