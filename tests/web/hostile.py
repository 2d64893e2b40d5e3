"""Generates hostile requests from a seed, and checks the responses.

Most requests are nearly valid, so that they reach code that they could break.
"""

import json
import random
import re
import socket
from collections.abc import Iterator
from contextlib import suppress
from typing import Final, NamedTuple

PATHS: Final = (
    b"/",
    b"/queues",
    b"/metrics",
    b"/health",
    b"/now",
    b"/ask",
    b"/sign-in",
    b"/static/0/page.js",
    b"/queues/",
    b"/../../etc/passwd",
    b"/%2e%2e/%2e%2e/etc/passwd",
    b"/%00",
    b"/%ff%fe",
    b"/%",
    b"/%zz",
    b"//",
    b"///metrics",
    b"/\\metrics",
    b"/;/metrics",
    b"*",
    b"http://[",
    b"http://evil.example/",
    b"evil.example:80",
    b"/\xe2\x98\x83",
    b"/{{7*7}}",
    b"/<script>alert(1)</script>",
    b"/" + b"a" * 3000,
    b"/" + b"a/" * 3000,
    b"/" + b"%41" * 20_000,
)
QUERIES: Final = (
    b"",
    b"?",
    b"?lang=de",
    b"?lang=%ff",
    b"?lang=../../etc",
    b"?name[]=immich_up",
    b"?name[]=" + b"x" * 5000,
    b"?" + b"&".join(b"a%d=b" % number for number in range(900)),
    b"?a=%",
    b"?\x80\x81",
    b"#fragment",
)
METHODS: Final = (
    *(b"GET",) * 30,
    *(b"POST",) * 20,
    b"HEAD",
    b"OPTIONS",
    b"PUT",
    b"DELETE",
    b"PATCH",
    b"TRACE",
    b"CONNECT",
    b"get",
    b"G ET",
    b"",
    b"X" * 2000,
    b"\x00",
    b"PRI",
)
VERSIONS: Final = (*(b"HTTP/1.1",) * 30, b"HTTP/1.0", b"HTTP/2.0", b"HTTP/9.9", b"HTTP/x", b"")
NAMES: Final = (
    b"Host",
    b"Accept",
    b"Accept-Encoding",
    b"Accept-Language",
    b"Authorization",
    b"Connection",
    b"Content-Length",
    b"Content-Type",
    b"Cookie",
    b"Date",
    b"Expect",
    b"Forwarded",
    b"If-Modified-Since",
    b"If-None-Match",
    b"Immich-Job-Daemon.App",
    b"Origin",
    b"Range",
    b"Referer",
    b"Sec-Fetch-Site",
    b"Transfer-Encoding",
    b"Upgrade",
    b"User-Agent",
    b"X-Forwarded-For",
    b"X-Forwarded-Host",
    b"X-Forwarded-Prefix",
    b"X-HTTP-Method-Override",
    b"X-Immich-Job-Daemon",
    b"X-Ingress-Path",
    b"X Space",
    b"",
    b"X\x00",
    b"X_Y",
)
VALUES: Final = (
    b"",
    b"0",
    b"1",
    b"-1",
    b"9" * 5000,
    b"*/*",
    b"[::1",
    b"localhost:99999",
    b"a b",
    b"evil.example",
    b"../..",
    b"//evil.example",
    b"/api/hassio_ingress/x",
    b'/a"><script>alert(1)</script>',
    b"javascript:alert(1)",
    b"Basic",
    b"Basic !!!!",
    b"Basic Og==",
    b"Basic " + b"QQ==" * 2000,
    b"Bearer x",
    b"bytes=0-1,2-3,-1",
    b'W/"x", "y", *',
    b"Thu, 99 Foo 0000 99:99:99 GMT",
    b"chunked",
    b"gzip, chunked",
    b"identity",
    b"100-continue",
    b"close",
    b"keep-alive",
    b"websocket",
    b"application/json",
    b"application/json; charset=\xff",
    b"multipart/form-data; boundary=",
    b"application/x-www-form-urlencoded",
    b"application/openmetrics-text; version=x",
    b"text/plain; version=1.0.0; escaping=\x00",
    b"de-DE;q=0.8,en;q=x,*;q=-1",
    b"q=0.5;;;,,,",
    b"x" * 9000,
    b"x" * 40_000,
    b"\xff\xfe\x80",
    b"\x00",
    b"a\rb",
    b"a\nb: c",
    b"${jndi:ldap://x}",
    b"%0d%0aSet-Cookie: a=b",
    b"same-origin",
    b"cross-site",
    b"172.30.32.2",
)
BODIES: Final = (
    b"",
    b"{}",
    b"[]",
    b"null",
    b'{"mode": "held"}',
    b'{"mode": "HELD"}',
    b'{"limit": 1e400}',
    b'{"limit": ' + b"9" * 3000 + b"}",
    b'{"limit": -1, "mode": []}',
    b'{"queue": "ocr", "override": "next"}',
    b'{"queue": "\\ud800", "override": "held"}',
    b'{"queue": "\\u0000\\n\\u202e", "override": "held"}',
    b'{"undo": true}',
    b"[" * 4000,
    b'{"a":' * 3000,
    b"\xff\xfe\x00",
    b"\xef\xbb\xbf{}",
    b"x" * 5000,
    b"x" * 70_000,
    b"a=b&c=d",
    b"NaN",
    b"zz\r\n",
    b"5\r\nhello\r\n0\r\n\r\n",
    b"fffffffffffffffff\r\n",
)
RAW: Final = (
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)),
    b"GET / HTTP/1.1\nHost: x\n\n",
    b"\r\n\r\n\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"SSH-2.0-OpenSSH_9.9\r\n\r\n",
    b"GET /\r\n\r\n" * 50,
    b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 4000 + b"\r\n",
    b"GET / HTTP/1.1\r\n : \r\n\r\n",
    b"GET / HTTP/1.1\r\n\tfolded\r\n\r\n",
    b"\x00" * 5000 + b"\r\n\r\n",
)


INTERNAL: Final = 500
SHORT: Final = 10


class Response(NamedTuple):
    """All bytes received, and the status of the first response, None without one."""

    status: int | None
    content: bytes


def hostile_requests(seed: int, number: int) -> Iterator[bytes]:
    """Yield ``number`` requests; the same seed yields the same requests."""
    rng = random.Random(seed)  # noqa: S311 - reproducible, not for security
    kinds = (_raw_bytes, *(_request,) * 8, _nearly_valid)
    for _ in range(number):
        yield rng.choice(kinds)(rng)


def _request(rng: random.Random) -> bytes:
    path = rng.choice(PATHS) + rng.choice((b"", b"", *QUERIES))
    if rng.random() < 0.1:
        path = _mutate(rng, path)
    line = b" ".join((rng.choice(METHODS), path, rng.choice(VERSIONS)))
    headers = [b"Host: 127.0.0.1"] if rng.random() < 0.8 else []
    if rng.random() < 0.3:
        headers += [b"Content-Type: application/json", b"X-Immich-Job-Daemon: 1"]
    for _ in range(rng.choice((0, 0, 1, 1, 2, 5))):
        value = rng.choice(VALUES)
        if rng.random() < 0.1:
            value = _mutate(rng, value)
        headers.append(rng.choice(NAMES) + b": " + value)
    body = rng.choice(BODIES) if rng.random() < 0.5 else b""
    if body and rng.random() < 0.8:
        headers.append(b"Content-Length: %d" % len(body))
    if rng.random() < 0.8:
        headers.append(b"Connection: close")
    rng.shuffle(headers)
    return b"\r\n".join((line, *headers, b"", body))


def _nearly_valid(rng: random.Random) -> bytes:
    """Return a change as the page submits it, or the same with a wrong byte."""
    body = rng.choice(BODIES)
    request = (
        b"POST /ask HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        b"X-Immich-Job-Daemon: 1\r\nConnection: close\r\n"
        b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
    )
    return _mutate(rng, request) if rng.random() < 0.5 else request


def _raw_bytes(rng: random.Random) -> bytes:
    kind = rng.random()
    if kind < 0.4:
        return rng.choice(RAW)
    if kind < 0.7:
        return rng.randbytes(rng.randrange(1, 2000)) + b"\r\n\r\n"
    whole = _request(rng)
    return whole[: rng.randrange(1, len(whole) + 1)]


def _mutate(rng: random.Random, text: bytes) -> bytes:
    """Return the bytes with one of them changed, removed or inserted."""
    at = rng.randrange(len(text) + 1)
    other = rng.randbytes(1)
    return text[:at] + rng.choice((b"", other, other * 3)) + text[at + rng.randrange(2) :]


def send(port: int, request: bytes) -> Response:
    """Send a request over a new connection; read until the server closes it."""
    parts = []
    with socket.create_connection(("127.0.0.1", port), timeout=90) as connection:
        # The server may close the connection before it has read everything.
        with suppress(OSError):
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
        with suppress(ConnectionError):
            while part := connection.recv(65536):
                parts.append(part)
    content = b"".join(parts).removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")
    status = int(content[9:12]) if content.startswith(b"HTTP/1.") else None
    return Response(status, content)


def violations(request: bytes, response: Response) -> Iterator[str]:
    """Yield what a response must not contain, and does."""
    if response.content and response.status is None:
        yield "no HTTP"
    if b"Traceback" in response.content:
        yield "a traceback"
    if response.status == INTERNAL:
        yield "an internal error"
    if response.status is not None and response.status >= INTERNAL:
        head, _, rest = response.content.partition(b"\r\n\r\n")
        length = re.search(rb"^content-length: (\d+)\r?$", head, re.IGNORECASE | re.MULTILINE)
        body = rest[: int(length[1])] if length else b""
        if request.startswith(b"HEAD ") or (length and len(body) < int(length[1])):
            return  # There is no body, or it was lost when the connection was closed.
        is_json = b"application/json" in head.lower()
        has_reason = bool(json.loads(body).get("error")) if is_json and body else len(body) > SHORT
        if not has_reason:
            yield "no reason"
