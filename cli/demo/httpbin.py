"""The demo's Application: the real httpbin, served on a socket that whoever starts this has opened.

Run as `python -m cli.demo.httpbin FD`, with the descriptor of the listening socket; so it comes back on the same port
when it is started again.
"""

import os
import sys
import threading

from mesh.run import notify


def main() -> None:
    """Serve until the lifeline ends or a signal comes."""
    try:
        from httpbin import app  # type: ignore[import-untyped]  # it has no types
    except ModuleNotFoundError as error:
        sys.exit(f"{error.name} is not installed: pip install 'moorage[demo]'")
    from werkzeug.serving import WSGIRequestHandler, make_server

    server = make_server("127.0.0.1", 0, app, threaded=True, fd=int(sys.argv[1]), request_handler=WSGIRequestHandler)
    lifeline = os.environ.get("MOORAGE_LIFELINE_FD")
    if lifeline:
        threading.Thread(target=_stop_with_starter, args=(int(lifeline),), daemon=True).start()
    notify("READY=1")
    server.serve_forever()


def _stop_with_starter(lifeline: int) -> None:
    os.read(lifeline, 1)  # returns when the other end is closed, however its process ended
    os._exit(0)


if __name__ == "__main__":
    main()
