"""The local Functions host: `python -m local.host --port N [--app FOLDER]` serves one function app on the loopback.

Decides how the app is served: on 127.0.0.1 and, where there is one, on ::1, so that `localhost` works either way;
bodies of any length, streamed both ways; no access log, because URLs hold UIDs, which identify patients; an end within
about five seconds of SIGINT or SIGTERM. Prints one line to standard output when it answers, and everything else to
standard error. Leaves out reloading after an edit, TLS, and the host's admin pages.
"""

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import override

import azure_functions_runtime as runtime
import uvicorn
from starlette.types import ASGIApp

from local.app import FunctionApp, load
from local.named import WithPort
from local.pages import Pages
from local.ports import listen
from local.settings import GRACE_SECONDS, ROOT, LocalError, LocalSettings, read_settings
from local.timers import run_timer
from local.viewer import CONFIGURATION

KEEP_ALIVE_SECONDS = 75


class _Server(uvicorn.Server):
    """uvicorn, with the signals left to this module and a word when it is ready."""

    def __init__(self, config: uvicorn.Config, ready: str) -> None:
        super().__init__(config)
        self._ready = ready

    @override
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    @override
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        print(self._ready, flush=True)


def main() -> int:
    """Serves until told to end; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m local.host", description="Serve a function app on this machine.")
    parser.add_argument(
        "--port", type=int, help="port to listen on; 0 is any free one (default: PORT, or the settings)"
    )
    parser.add_argument("--app", type=Path, default=ROOT, help="folder of function_app.py (default: this project)")
    parser.add_argument("--viewer", type=Path, help="folder of the viewer's files, to serve them at / as well")
    parser.add_argument("--until-stdin-closes", action="store_true", help="end when standard input is closed")
    arguments = parser.parse_args()
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for chatty in ("azure", "uvicorn"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    # The runtime logs what it reports as well, and this host says it once.
    logging.getLogger("azure.functions").setLevel(logging.CRITICAL)
    folder = arguments.app.resolve()
    try:
        settings = read_settings(folder, os.environ)
        port = settings.port if arguments.port is None else arguments.port
        asyncio.run(serve(folder, settings, port, arguments.viewer, until_stdin_closes=arguments.until_stdin_closes))
    except LocalError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:  # while the app was still being imported
        return 130
    return 0


async def serve(
    folder: Path, settings: LocalSettings, port: int, viewer: Path | None = None, *, until_stdin_closes: bool = False
) -> None:
    """Serves the app in `folder` until SIGINT, SIGTERM or, if asked for, the end of standard input.

    With the folder of a viewer its pages are served on the same port.
    """
    sockets = listen(port)
    os.environ.update(settings.values)
    app = await load(folder, os.environ)
    config = uvicorn.Config(
        _served(app, viewer),
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    server = _Server(config, f"listening on http://127.0.0.1:{sockets[0].getsockname()[1]}")
    loop = asyncio.get_running_loop()

    def stop() -> None:
        server.should_exit = True

    def on_input() -> None:
        if not os.read(sys.stdin.fileno(), 4096):
            loop.remove_reader(sys.stdin.fileno())
            stop()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    if until_stdin_closes:
        loop.add_reader(sys.stdin.fileno(), on_input)
    timers = [asyncio.create_task(run_timer(timer, app.run_timer), name=timer.name) for timer in app.timers]
    try:
        await server.serve(sockets)
    finally:
        for task in timers:
            task.cancel()
        await asyncio.gather(*timers, return_exceptions=True)
        runtime.stop_threadpool_executor()
        # In Azure an app's process simply ends, so an app has no moment to close its clients; asyncio would complain.
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)


def _served(app: FunctionApp, viewer: Path | None) -> ASGIApp:
    """The app, and the viewer's pages beside it if there is a viewer."""
    return WithPort(Pages(app, viewer, {"app-config.js": CONFIGURATION}) if viewer else app)


if __name__ == "__main__":
    sys.exit(main())
