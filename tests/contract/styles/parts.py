"""What registries of different manners have in common: content, token services, storage, and who asks them all."""

import itertools
from collections.abc import Callable, Collection, Mapping
from urllib.parse import urlsplit

from local.images import LocalImage, make_image
from local.registry import routes
from local.registry.answers import Answer, error_answer, json_answer
from local.registry.content import Content
from pullahead.oci import Descriptor, Reference, Repository
from pullahead.registry.client import UpstreamRegistry
from pullahead.registry.credentials import Credential
from pullahead.rules.model import UpstreamSettings
from tests.fakes.internet import HttpRequest, Internet, Site

IMAGE = make_image([5000], seed=40)
BLOB = Descriptor("application/octet-stream", list(IMAGE.blobs)[-1], len(IMAGE.blobs[list(IMAGE.blobs)[-1]]))


def content_of(repository: str, *tags: str, image: LocalImage = IMAGE) -> Content:
    """Hold an image under some tags."""
    content = Content()
    for tag in tags or ("1.0",):
        content.push(image, repository, tag)
    return content


def api(content: Content, asked: HttpRequest) -> Answer:
    """Answer as distribution does, once it is clear who asks."""
    if match := routes.MANIFEST.fullmatch(asked.path):
        manifest = content.find_manifest(match["repository"], match["name"])
        return routes.manifest_answer(manifest, asked.headers.get("accept", ""), None)
    if match := routes.BLOB.fullmatch(asked.path):
        blob = content.find_blob(match["repository"], match["name"])
        return routes.blob_answer(blob, match["name"], asked.headers.get("range", ""))
    if match := routes.TAGS.fullmatch(asked.path):
        return routes.tags_answer(content, match["repository"], asked.query)
    return error_answer(404, "UNSUPPORTED", "unsupported")


class TokenService:
    """Issues tokens, anonymously or for a login, each valid for the requested scopes."""

    def __init__(
        self, realm: str, service: str = "", *, field: str = "token", known: Collection[Credential] | None = None
    ) -> None:
        self.realm, self.service, self.field = realm, service, field
        self.host, self.path = urlsplit(realm).netloc, urlsplit(realm).path
        self._known = None if known is None else {credential.basic for credential in known}
        self._numbers = itertools.count(1)
        self.granted: dict[str, tuple[str, ...]] = {}

    def issue(self, asked: HttpRequest) -> Answer:
        """Answer a request for a token."""
        if self._known is not None and asked.authorization not in self._known:
            return error_answer(401, "UNAUTHORIZED", "incorrect username or password")
        token = f"{self.service or 'token'}-{next(self._numbers)}"
        self.granted[f"Bearer {token}"] = tuple(asked.query.get("scope", ()))
        return json_answer(200, {self.field: token, "expires_in": 300})

    def lets_in(self, asked: HttpRequest) -> bool:
        """Tell whether a token is of this service and reaches as far as the repository."""
        return scope_of(asked) in self.granted.get(asked.authorization or "", ())

    def challenge(self, asked: HttpRequest) -> Answer:
        """Ask for a token."""
        service = f',service="{self.service}"' if self.service else ""
        header = f'Bearer realm="{self.realm}"{service},scope="{scope_of(asked)}"'
        return error_answer(401, "UNAUTHORIZED", "authentication required", {"WWW-Authenticate": header})


def scope_of(asked: HttpRequest) -> str:
    """Name what is needed to read what is asked for."""
    return f"repository:{routes.repository_of(asked.path)}:pull"


class Storage:
    """Signed addresses of blobs, each valid for so many requests; requests with an Authorization are refused."""

    def __init__(self, host: str, refusal: str = "<Error><Code>InvalidArgument</Code></Error>", uses: int = 1) -> None:
        self.host, self.uses, self._refusal = host, uses, refusal.encode()
        self._signed: dict[str, list[str]] = {}
        self._numbers = itertools.count(1)

    def redirect(self, asked: HttpRequest, status: int = 307) -> Answer:
        """Send a reader of a blob to its signed address."""
        signature = f"s{next(self._numbers)}"
        self._signed[signature] = [asked.path] * self.uses
        return Answer(status, {"Location": f"https://{self.host}{asked.path}?sig={signature}"})

    def site(self, content: Content) -> Site:
        """Make the site that serves the blobs of a registry."""

        def answer(asked: HttpRequest) -> Answer:
            if asked.authorization is not None:
                return Answer(400, {"Content-Type": "application/xml"}, self._refusal)
            uses = self._signed.get(asked.query.get("sig", [""])[0], [])
            if not uses or uses.pop() != asked.path or asked.method != "GET":
                return Answer(403, {"Content-Type": "application/xml"}, b"<Error><Code>AccessDenied</Code></Error>")
            return api(content, asked)

        return answer


class Tokened:
    """A registry that wants a token of a service, there or on another host, and that may keep its blobs elsewhere."""

    host: str
    repository: str

    def __init__(self, content: Content, tokens: TokenService, storage: Storage | None = None) -> None:
        self.content, self.tokens, self.storage = content, tokens, storage

    def sites(self) -> Mapping[str, Site]:
        """Tell what each host answers."""
        stored = {} if self.storage is None else {self.storage.host: self.storage.site(self.content)}
        return {self.tokens.host: self.tokens.issue, **stored, self.host: self.registry}

    def registry(self, asked: HttpRequest) -> Answer:
        """Answer as the registry."""
        if (asked.host, asked.path) == (self.tokens.host, self.tokens.path):
            return self.tokens.issue(asked)
        return self.answer(asked) if self.tokens.lets_in(asked) else self.challenge(asked)

    def challenge(self, asked: HttpRequest) -> Answer:
        """Refuse who has no token."""
        return self.tokens.challenge(asked)

    def answer(self, asked: HttpRequest) -> Answer:
        """Answer who has one."""
        if self.storage is not None and "/blobs/" in asked.path:
            return self.storage.redirect(asked)
        return api(self.content, asked)


class Client:
    """An upstream client in an internet of such sites."""

    def __init__(
        self,
        internet: Internet,
        credential: Credential | None = None,
        settings: Mapping[str, UpstreamSettings] | None = None,
        sleep: Callable[[float], None] = lambda _: None,
    ) -> None:
        known, pem = settings or {}, internet.certified.certificate
        self.upstream = UpstreamRegistry(
            lambda host: known.get(host, UpstreamSettings(host))._replace(ca=pem),
            network=internet.network,
            credentials=lambda _: credential,
            sleep=sleep,
        )

    def head(self, host: str, path: str, tag: str = "1.0") -> bool:
        """Resolve a tag and tell whether it is the image's."""
        return self.upstream.head_manifest(Reference(Repository(host, path), tag)) == IMAGE.root.descriptor

    def get(self, host: str, path: str, tag: str = "1.0") -> bool:
        """Read a manifest and tell whether it is the image's."""
        return self.upstream.get_manifest(Reference(Repository(host, path), tag)) == IMAGE.root

    def read(self, host: str, path: str, first_byte: int = 0) -> bool:
        """Read a blob and tell whether it is the image's."""
        with self.upstream.open_blob(Repository(host, path), BLOB, first_byte) as pieces:
            return b"".join(pieces) == IMAGE.read_blob(BLOB.digest)[first_byte:]

    def tags(self, host: str, path: str) -> tuple[str, ...]:
        """List tags."""
        return self.upstream.list_tags(Repository(host, path))
