"""What keeps other web pages away from a server on this machine.

Any page in the user's browser may send requests to 127.0.0.1. That a page reads no answers is the browser's doing,
unless the page's own name is made to lead to 127.0.0.1 (DNS rebinding): then the request names that page as its host,
and is refused.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src blob:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "microphone=(self), camera=(), geolocation=()",
    "cache-control": "no-store",
}


class Guard:
    """Answers only requests that name this server, and to what changes or costs something only those of its own pages
    or of programs that are no browser; adds HEADERS."""

    def __init__(self, app: ASGIApp, names: Iterable[str], refuse: Callable[[int, str], Response]):
        """names: of hosts, beside localhost and all addresses in figures."""
        self._app, self._refuse = app, refuse
        self._names = {"localhost", *(name.lower() for name in names)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message["headers"],
                    *((name.encode(), value.encode()) for name, value in HEADERS.items()),
                ]
            await send(message)

        headers = Headers(scope=scope)
        host = headers.get("host", "")
        answer: ASGIApp = self._app
        if not self._is_ours(host):
            answer = self._refuse(
                403, f"The request names the host {host[:100]!r}, which is not this server; --allow-host adds names."
            )
        elif scope["method"] not in ("GET", "HEAD") and self._from_elsewhere(headers, host):
            answer = self._refuse(403, "Requests from other web pages are not taken.")
        await answer(scope, receive, send_guarded)

    def _is_ours(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        if name.removesuffix(".") in self._names:
            return True
        try:
            ipaddress.ip_address(name)  # which nobody can make lead elsewhere
        except ValueError:
            return False
        return True

    @staticmethod
    def _from_elsewhere(headers: Headers, host: str) -> bool:
        origin, site = headers.get("origin"), headers.get("sec-fetch-site")
        if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
            return True
        return site is not None and site not in ("same-origin", "none")
