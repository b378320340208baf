#!/usr/bin/env python3
"""Serve a page and an API to try a trained detector: record or drop a file, see and hear the verdict.

Listens on this machine only, unless --host says otherwise, and keeps nothing. See docs/serve.md.
"""

from __future__ import annotations

import argparse
import importlib.util
import ipaddress
import socket
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import utils.environment

from steps.evaluation.costs import costs_of
from steps.experiment.exit_option import add_exit_option
from steps.inference.calibration import add_decision_options
from utils.cli import THREADS, UserError, make_parser, real_number, run_program, warn, whole_number

_NEEDS = ("fastapi", "uvicorn")


def parse_arguments() -> argparse.Namespace:
    parser = make_parser(
        __doc__,
        "steps/serve.py --model exp/train_f0_subband_senet34_self_distill/seed1\n"
        "curl --data-binary @a.wav http://127.0.0.1:8765/api/verdict?pictures=false",
    )
    parser.add_argument(
        "--model", type=Path, required=True, metavar="EXP", help="folder of one training, or a final.pt"
    )
    add_decision_options(parser)
    parser.add_argument(
        "--hop", type=real_number(0, 1e6), metavar="SECONDS", help="seconds between windows; half a window if not given"
    )
    add_exit_option(parser)
    parser.add_argument("--host", default="127.0.0.1", help="address or name to listen on")
    parser.add_argument("--port", type=whole_number(0, 65535), default=8765, help="port to listen on; 0: any free one")
    parser.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="a name by which browsers reach the server; may be given several times",
    )
    parser.add_argument("--max-mib", type=real_number(0, 1e9), default=64, help="largest size of an upload")
    parser.add_argument("--max-seconds", type=real_number(0, 1e9), default=1800, help="longest recording")
    parser.add_argument(
        "--timeout",
        type=real_number(0, 1e9),
        default=120,
        help="seconds for an upload to arrive, and for it to be scored",
    )
    parser.add_argument(
        "--max-waiting", type=whole_number(1), default=64, help="most uploads waiting; others get status 503"
    )
    parser.add_argument("--num-threads", type=THREADS, default=1, help="CPU threads")
    args = parser.parse_args()
    if args.model.suffix == ".onnx":
        parser.error("--model: an ONNX file cannot show where the network looked; give the training")
    return args


def require_server() -> None:
    """Raises UserError, which says how to get it, where there is no FastAPI or no uvicorn."""
    missing = [name for name in _NEEDS if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(
            f"the server needs {' and '.join(missing)}, which is not installed here; in the toolkit's folder give\n"
            "  python3 -m pip install -c constraints.txt -r requirements-serve.txt"
        )


def listen(host: str, port: int) -> tuple[socket.socket, bool]:
    """A socket, and whether only this machine reaches it. Raises UserError where there can be none."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        opened = socket.create_server(address[:2], family=family, backlog=256)
    except (OSError, OverflowError) as error:
        raise UserError(
            f"--host {host} --port {port}: cannot listen there: {getattr(error, 'strerror', None) or error}; "
            "--port 0 takes any port that is free"
        ) from None
    return opened, ipaddress.ip_address(address[0]).is_loopback


def main() -> None:
    args = parse_arguments()
    require_server()
    import uvicorn

    from steps.serving.app import make_app
    from steps.serving.intake import Limits
    from steps.serving.worker import Settings, Worker

    limits = Limits(args.max_mib, args.max_seconds, args.timeout, args.max_waiting)
    names = ("model", "calibration", "prior", "threshold", "hop", "exit", "judge_outside")
    detector = {name: getattr(args, name) for name in names}
    detector["costs"] = costs_of(args)
    sock, loopback = listen(args.host, args.port)
    with sock:
        worker = Worker(Settings(detector, limits.max_seconds, limits.timeout, args.num_threads))
        try:
            app = make_app(worker, limits, [args.host, *args.allow_host], loopback)
            if not loopback:
                warn(
                    f"--host {args.host}: whoever reaches this machine over the network may use the server,"
                    " unencrypted; browsers let pages record only over https or on the machine itself"
                )
            host = f"[{args.host}]" if ":" in args.host else args.host
            print(f"serve.py: http://{host}:{sock.getsockname()[1]}/ (Ctrl-C ends it)", flush=True)
            config = uvicorn.Config(
                app,
                log_level="warning",
                access_log=False,
                server_header=False,
                proxy_headers=False,
                ws="none",
                timeout_graceful_shutdown=2,
            )
            uvicorn.Server(config).run(sockets=[sock])
        finally:
            worker.close()


if __name__ == "__main__":
    run_program(main)
