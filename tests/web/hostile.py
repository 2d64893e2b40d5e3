"""Requests that no honest client sends, made by chance from a seed; and what comes back.

Most are nearly right, so that they get as far as something that could fall over them.
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
    b"Immich-Job-Daemon.Face",
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


class Outcome(NamedTuple):
    """What came back: the status of the first answer, None without one, and all bytes."""

    status: int | None
    content: bytes


def hostile(seed: int, number: int) -> Iterator[bytes]:
    """Yield so many requests, the same for the same seed."""
    chance = random.Random(seed)  # noqa: S311 - the same each time
    kinds = (_raw, *(_request,) * 8, _nearly_right)
    for _ in range(number):
        yield chance.choice(kinds)(chance)


def _request(chance: random.Random) -> bytes:
    path = chance.choice(PATHS) + chance.choice((b"", b"", *QUERIES))
    if chance.random() < 0.1:
        path = _spoiled(chance, path)
    line = b" ".join((chance.choice(METHODS), path, chance.choice(VERSIONS)))
    headers = [b"Host: 127.0.0.1"] if chance.random() < 0.8 else []
    if chance.random() < 0.3:
        headers += [b"Content-Type: application/json", b"X-Immich-Job-Daemon: 1"]
    for _ in range(chance.choice((0, 0, 1, 1, 2, 5))):
        value = chance.choice(VALUES)
        if chance.random() < 0.1:
            value = _spoiled(chance, value)
        headers.append(chance.choice(NAMES) + b": " + value)
    body = chance.choice(BODIES) if chance.random() < 0.5 else b""
    if body and chance.random() < 0.8:
        headers.append(b"Content-Length: %d" % len(body))
    if chance.random() < 0.8:
        headers.append(b"Connection: close")
    chance.shuffle(headers)
    return b"\r\n".join((line, *headers, b"", body))


def _nearly_right(chance: random.Random) -> bytes:
    """Return a change as the page asks for it, or one with a byte that is wrong."""
    body = chance.choice(BODIES)
    request = (
        b"POST /ask HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        b"X-Immich-Job-Daemon: 1\r\nConnection: close\r\n"
        b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
    )
    return _spoiled(chance, request) if chance.random() < 0.5 else request


def _raw(chance: random.Random) -> bytes:
    kind = chance.random()
    if kind < 0.4:
        return chance.choice(RAW)
    if kind < 0.7:
        return chance.randbytes(chance.randrange(1, 2000)) + b"\r\n\r\n"
    whole = _request(chance)
    return whole[: chance.randrange(1, len(whole) + 1)]


def _spoiled(chance: random.Random, text: bytes) -> bytes:
    """Return the bytes with one of them changed, taken out or put in."""
    at = chance.randrange(len(text) + 1)
    other = chance.randbytes(1)
    return text[:at] + chance.choice((b"", other, other * 3)) + text[at + chance.randrange(2) :]


def sent(port: int, request: bytes) -> Outcome:
    """Send a request over a connection of its own, and return what comes until its end."""
    parts = []
    with socket.create_connection(("127.0.0.1", port), timeout=90) as connection:
        # Who sends more than is read may find the connection cut, and the answer lost with it.
        with suppress(OSError):
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
        with suppress(ConnectionError):
            while part := connection.recv(65536):
                parts.append(part)
    content = b"".join(parts).removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")
    status = int(content[9:12]) if content.startswith(b"HTTP/1.") else None
    return Outcome(status, content)


def complaints(request: bytes, outcome: Outcome) -> Iterator[str]:
    """Yield what must not be, of what came back to a request."""
    if outcome.content and outcome.status is None:
        yield "no HTTP"
    if b"Traceback" in outcome.content:
        yield "a traceback"
    if outcome.status == INTERNAL:
        yield "our own mistake"
    if outcome.status is not None and outcome.status >= INTERNAL:
        head, _, rest = outcome.content.partition(b"\r\n\r\n")
        length = re.search(rb"^content-length: (\d+)\r?$", head, re.IGNORECASE | re.MULTILINE)
        body = rest[: int(length[1])] if length else b""
        if request.startswith(b"HEAD ") or (length and len(body) < int(length[1])):
            return  # there is no body, or it was lost with the connection
        is_json = b"application/json" in head.lower()
        is_said = bool(json.loads(body).get("error")) if is_json and body else len(body) > SHORT
        if not is_said:
            yield "no reason"
