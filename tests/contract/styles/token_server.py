"""A token service for distribution: signed tokens for who knows the password. Decides nothing else.

Source: distribution project, "Token Authentication Specification" and "Token Authentication Implementation".
"""

import base64
import http.server
import json
import ssl
import time
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from pullahead.registry.credentials import Credential
from tests.certificates import Certified

ISSUER, SERVICE = "token-server", "docker-registry"


class TokenServer(http.server.ThreadingHTTPServer):
    """Issues tokens on 127.0.0.1 over TLS. `lifetime_seconds` is what tokens are good for."""

    daemon_threads = True

    def __init__(self, certified: Certified, certificate: Path, known: Credential) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.certified, self.known, self.asked = certified, known, 0
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificate)
        self.socket = tls.wrap_socket(self.socket, server_side=True)

    @property
    def host(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.server_address[1]}"

    def sign(self, scopes: list[str]) -> str:
        """Make a token for scopes, as a JSON web token signed by RS256."""
        now = int(time.time())
        access = [
            {"type": kind, "name": name, "actions": actions.split(",")}
            for kind, name, actions in (scope.split(":", 2) for scope in scopes)
        ]
        head = {"typ": "JWT", "alg": "RS256", "x5c": [self.certified.der]}
        times = {"iat": now, "nbf": now - 10, "exp": now + 300}
        body = {"iss": ISSUER, "aud": SERVICE, "sub": "", "jti": str(now), "access": access, **times}
        signed = b".".join(_encoded(json.dumps(part).encode()) for part in (head, body))
        key = load_pem_private_key(self.certified.key.encode(), None)
        assert isinstance(key, rsa.RSAPrivateKey)
        signature = key.sign(signed, padding.PKCS1v15(), hashes.SHA256())
        return b".".join((signed, _encoded(signature))).decode()


class _Handler(http.server.BaseHTTPRequestHandler):
    server: TokenServer

    def log_message(self, *_: object) -> None:
        """Print nothing."""

    def do_GET(self) -> None:
        self.server.asked += 1
        knows = self.headers.get("Authorization") == self.server.known.basic
        scopes = parse_qs(urlsplit(self.path).query).get("scope", [])
        body = json.dumps({"token": self.server.sign(scopes)} if knows else {"details": "unknown"}).encode()
        self.send_response(200 if knows else 401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _encoded(content: bytes) -> bytes:
    return base64.urlsafe_b64encode(content).rstrip(b"=")
