"""A web server under light load: both cores are idle because nobody asks for more."""

from __future__ import annotations

import http.server
import threading
import time
import urllib.request

SECONDS = 7.0


class Page(http.server.BaseHTTPRequestHandler):
    """Answers every request with a small page."""

    def do_GET(self) -> None:
        """Answer one request."""
        body = "".join(f"<li>{number * number}</li>" for number in range(500)).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet."""


def main() -> None:
    """Serve, and ask for a page ten times a second."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        begun, done = time.perf_counter(), 0
        while time.perf_counter() - begun < SECONDS:
            with urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/") as answer:
                answer.read()
            done += 1
            time.sleep(0.1)
        print(f"units={done} elapsed {time.perf_counter() - begun:.2f}")
        server.shutdown()


if __name__ == "__main__":
    main()
