"""The server's pages and its API."""

from __future__ import annotations

import asyncio
import contextlib
import http
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi.responses import HTMLResponse, JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from pydantic import Field
from starlette.exceptions import HTTPException

from steps.serving.answers import Model, Problem, Verdict
from steps.serving.guard import Guard
from steps.serving.intake import Intake, Limits
from steps.serving.refused import FORMATS, Refused, time_words

HERE = Path(__file__).resolve().parent
_TITLES = {413: "Too large", 415: "Not a sound", 422: "Cannot be scored", 503: "Too busy", 504: "Too slow"}
_WHEN = {
    403: "named another host than this server, or sent by another web page",
    408: "did not arrive within the time limit",
    413: "larger than the size limit",
    415: "no sound that can be decoded",
    422: "empty, too long, too short, truncated, damaged, or silent",
    500: "the server's fault; its messages say why",
    503: "too many uploads wait already",
    504: "not decoded and scored within the time limit",
}
_BODY = {
    "required": True,
    "description": "The file as it is: its bytes and nothing else. No form.",
    "content": {
        kind: {"schema": {"type": "string", "format": "binary"}} for kind in ("application/octet-stream", "audio/*")
    },
}


Channel = Annotated[int, Field(ge=0)]


class Judge(Protocol):
    """worker.Worker, or what stands for it."""

    def model(self) -> dict[str, Any]: ...

    def judge(
        self, data: bytes, pictures: bool, channels: int | str | None = None
    ) -> dict[str, Any] | list[dict[str, Any]]: ...

    def close(self) -> None: ...


def problem(status: int, detail: str, headers: dict[str, str] | None = None) -> JSONResponse:
    title = _TITLES.get(status, http.HTTPStatus(status).phrase)
    body = Problem(title=title, status=status, detail=detail)
    if status == 503:
        headers = {"Retry-After": "5"} | (headers or {})
    return JSONResponse(body.model_dump(), status, headers, media_type="application/problem+json")


def _responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": _WHEN[status], "content": content} for status in statuses}


def make_app(judge: Judge, limits: Limits, names: Iterable[str] = (), loopback: bool = True) -> FastAPI:
    """judge: loaded; names: of hosts that the server goes by, beside localhost and addresses; loopback: whether only
    this machine reaches it."""

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        judge.close()  # before the event loop waits for the thread that waits for it

    # the pages of FastAPI load scripts from elsewhere
    app = FastAPI(
        title="Fake speech detection",
        version="1",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        lifespan=lifespan,
        telemetry=dict.fromkeys(("tracing", "metrics", "logs", "operation_spans", "auto_configure"), False),
    )
    app.add_middleware(Guard, names=names, refuse=problem)
    templates = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    templates.filters["time"] = time_words
    page = templates.get_template("page.html")
    model = Model(
        **judge.model(),
        limits={
            "max_mib": limits.max_mib,
            "max_seconds": limits.max_seconds,
            "timeout_seconds": limits.timeout,
            "max_waiting": limits.max_waiting,
        },
    )
    intake, turn = Intake(limits), asyncio.Lock()

    @app.exception_handler(Refused)
    async def refused(_: Request, error: Refused) -> JSONResponse:
        return problem(error.status, error.detail)

    @app.exception_handler(HTTPException)
    async def not_found(_: Request, error: HTTPException) -> JSONResponse:
        return problem(error.status_code, str(error.detail), dict(error.headers or {}))

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        wrong: dict[str, list[str]] = {}  # of several kinds that a parameter may be, each says why it is not that
        for one in error.errors():
            wrong.setdefault(".".join(map(str, one["loc"][1:2])), []).append(one["msg"])
        said = "; ".join(f"{name}: {', or '.join(reasons)}" for name, reasons in wrong.items())
        return problem(422, f"{said.replace(', or Input should', ', or')}.")

    @app.post(
        "/api/verdict",
        summary="Score a recording",
        response_model=Verdict | list[Verdict],
        responses=_responses(403, 408, 413, 415, 422, 500, 503, 504),
        openapi_extra={"requestBody": _BODY},
    )
    async def verdict(
        request: Request, pictures: bool = True, channels: Literal["mix", "each"] | Channel | None = None
    ) -> Any:
        """The verdict on one recording, where in it the score is lowest, and what the network looked at. Of several
        channels their mean is scored (`mix`), one by its number from 0, or `each`: then a list of verdicts. Uploads are
        scored one after the other, in the order in which they arrived. Nothing of them is kept."""
        length = request.headers.get("content-length", "")
        waits = request.headers.get("expect", "").lower() == "100-continue"
        with intake.place() as held:
            await intake.receive(held, int(length) if length.isdecimal() else None, waits, request.stream())
            if not held:
                raise Refused(422, "It is empty: no bytes.")
            if request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
                raise Refused(415, "This is a form. Send the file itself as the body (curl --data-binary @FILE).")
            async with turn:
                if await request.is_disconnected():
                    return Response(status_code=204)  # nobody reads it
                return JSONResponse(await asyncio.to_thread(judge.judge, bytes(held), pictures, channels))

    @app.get("/api/model", summary="The basis of the verdicts", response_model=Model, responses=_responses(403))
    async def model_of() -> Any:
        """The model, its corpus, calibration and threshold, and the server's limits."""
        return model

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            made = get_openapi(title=app.title, version=app.version, routes=app.routes, description=_DESCRIPTION)
            schemas = made["components"]["schemas"]
            schemas["Problem"] = Problem.model_json_schema()
            for unused in ("HTTPValidationError", "ValidationError"):
                schemas.pop(unused, None)
            app.openapi_schema = made
        return app.openapi_schema

    app.openapi = document

    @app.get("/", include_in_schema=False)
    async def front() -> HTMLResponse:
        return HTMLResponse(page.render(model=model, formats=FORMATS, loopback=loopback, max_bytes=limits.max_bytes))

    @app.get("/api/openapi.json", include_in_schema=False)
    async def openapi() -> JSONResponse:
        return JSONResponse(document())

    app.mount("/static", StaticFiles(directory=HERE / "static"))
    return app


_DESCRIPTION = (
    "Scores a recording as bona fide or spoof by a detector that runs on this machine. Errors are"
    " application/problem+json."
)
