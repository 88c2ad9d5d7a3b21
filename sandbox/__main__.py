"""`python -m sandbox`: serve the sandbox until it is stopped."""

import argparse
import socket
import sys
from datetime import datetime
from pathlib import Path

import uvicorn

from sandbox import sample_prices
from sandbox.application import application
from sandbox.meter import Plan
from sandbox.state import DEFAULT_CLOCK, Sandbox


def main(arguments: list[str] | None = None) -> int:
    """Bind the port, say so, and serve; 2 when the port is taken."""
    chosen = _parser().parse_args(arguments)
    try:
        listener = socket.create_server((chosen.host, chosen.port))
    except OSError as error:
        sys.stderr.write(
            f"The sandbox cannot listen on {chosen.host}:{chosen.port}: {error.strerror}. "
            "Stop what listens there, or choose another --port.\n"
        )
        return 2
    # asyncio does this only for sockets that name their protocol; without it each answer waits for
    # the client's delayed acknowledgement, 40 ms.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with listener:
        _serve(listener, _sandbox(chosen))
    return 0


def _sandbox(chosen: argparse.Namespace) -> Sandbox:
    listings = sample_prices.load(chosen.data) if chosen.data else sample_prices.sample()
    if chosen.copies:
        listings = sample_prices.copies(listings, chosen.copies)
    plan = Plan(per_minute=chosen.per_minute, per_day=chosen.per_day)
    return Sandbox(listings, default_clock=chosen.clock, default_plan=plan)


def _serve(listener: socket.socket, sandbox: Sandbox) -> None:
    host, port = listener.getsockname()[:2]
    config = uvicorn.Config(
        application(sandbox), log_level="warning", access_log=False, server_header=False
    )
    # The socket listens already: a reader of this line may connect.
    sys.stdout.write(f"Sandbox of {len(sandbox.listings)} symbols on http://{host}:{port}\n")
    sys.stdout.flush()
    uvicorn.Server(config).run(sockets=[listener])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m sandbox",
        description="Serve sample prices as Twelve Data would.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address (127.0.0.1)")
    parser.add_argument("--port", type=int, default=8001, help="port (8001); 0 for any free one")
    parser.add_argument(
        "--clock", type=_instant, default=DEFAULT_CLOCK, help="instant it stands at"
    )
    parser.add_argument("--per-minute", type=int, default=610, help="credits a minute (610)")
    parser.add_argument("--per-day", type=int, help="credits a day (no limit)")
    parser.add_argument("--data", type=Path, help="folder of other prices; see docs/sandbox.md")
    parser.add_argument("--copies", type=int, help="this many made-up symbols with those prices")
    return parser


def _instant(text: str) -> datetime:
    instant = datetime.fromisoformat(text)
    if instant.tzinfo is None:
        raise argparse.ArgumentTypeError("needs a time zone, as in 2022-12-28T22:00:00Z")
    return instant


if __name__ == "__main__":
    sys.exit(main())
