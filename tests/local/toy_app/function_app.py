"""A function app that shows the test of the local host what it was given. Its sizes are in bytes."""

import asyncio
import os
import resource
from collections.abc import AsyncIterator
from pathlib import Path

import azure.functions as func
from azure_functions_runtime.http_v2 import http_coordinator
from azurefunctions.extensions.http.fastapi import JSONResponse, Request, Response, StreamingResponse
from starlette.requests import ClientDisconnect

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)
events: list[str] = []
CHUNK = bytes(64 * 1024)


def _named(name: str, request: Request) -> JSONResponse:
    return JSONResponse({"function": name, "parameters": dict(request.path_params)})


@app.route(route="{*rest}", methods=["GET"])
async def everything_else(req: Request) -> Response:
    return _named("everything_else", req)


@app.route(route="items/{item}", methods=["GET"])
async def item(req: Request) -> Response:
    return _named("item", req)


@app.route(route="items/special", methods=["GET", "HEAD"])
async def special(req: Request) -> Response:
    return _named("special", req)


@app.route(route="items/{item}", methods=["DELETE"])
async def delete_item(req: Request) -> Response:
    return Response(status_code=204)


@app.route(route=r"{version:regex(^v\d{{1,2}}$)}/items/{item}/parts", methods=["GET"])
async def parts(req: Request) -> Response:
    return _named("parts", req)


@app.route(route="upload", methods=["POST"])
async def upload(req: Request) -> Response:
    received = 0
    try:
        async for chunk in req.stream():
            received += len(chunk)
    except ClientDisconnect:
        events.append("upload: ClientDisconnect")
        raise
    return JSONResponse({"received": received})


@app.route(route="download", methods=["GET", "HEAD"])
async def download(req: Request) -> Response:
    async def body() -> AsyncIterator[bytes]:
        left = int(req.query_params["size"])
        try:
            while left > 0:
                yield CHUNK[:left]
                await asyncio.sleep(0)  # as reading from storage does; else nothing hears that the client is gone
                left -= len(CHUNK)
        except (asyncio.CancelledError, GeneratorExit):
            events.append("download: cancelled")
            raise

    headers = {"Content-Length": req.query_params["size"], "ETag": '"toy"', "X-Total-Count": "1"}
    return StreamingResponse(body(), headers=headers, media_type="application/octet-stream")


@app.route(route="slow", methods=["GET"])
async def slow(req: Request) -> Response:
    await asyncio.sleep(float(req.query_params["seconds"]))
    return Response()


@app.route(route="fail", methods=["POST"])
async def fail(req: Request) -> Response:
    await req.body()
    raise RuntimeError("the reason for the log")


@app.route(route="nothing", methods=["GET"])
async def nothing(req: Request) -> Response:
    return None  # type: ignore[return-value]


@app.route(route="state", methods=["GET"])
async def state(req: Request) -> Response:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return JSONResponse(
        {
            "events": events,
            "contexts": len(http_coordinator._context_references),
            "peak": peak,
            "folder": str(Path.cwd()),
            "setting": os.environ.get("TOY_SETTING"),
            "host": req.headers["host"],
        }
    )


@app.timer_trigger(schedule="%TOY_SCHEDULE%", arg_name="timer", run_on_startup=True)
async def every_second(timer: func.TimerRequest) -> None:
    events.append(f"timer starts, past due: {timer.past_due}, next known: {'Next' in timer.schedule_status}")
    await asyncio.sleep(1.5)
    events.append("timer ends")
