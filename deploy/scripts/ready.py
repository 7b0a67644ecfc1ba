#!/usr/bin/env python3
"""Ask the relay whether deliveries can be accepted; exit 0 if so, else 1.

    ready.py [--wait SECONDS] [--url http://127.0.0.1:8791/readyz]

It is what the service waits for at its start, and the health check of the container. Only the standard
library is used, so that it answers at once.
"""

from __future__ import annotations

import argparse
import sys
import time
import urllib.error
import urllib.request
from http import HTTPStatus

ANSWER_WITHIN_S = 5.0
ASK_EVERY_S = 0.5


def is_ready(url: str) -> bool:
    """Ask once, whatever proxies the environment names."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=ANSWER_WITHIN_S) as answer:
            return answer.status == HTTPStatus.OK
    except (OSError, urllib.error.URLError):
        return False


def main() -> int:
    """Ask until it is ready or the time is over."""
    parser = argparse.ArgumentParser(description="Ask the relay whether deliveries can be accepted.")
    parser.add_argument("--wait", type=float, default=0.0, metavar="SECONDS", help="how long to ask again")
    parser.add_argument("--url", default="http://127.0.0.1:8791/readyz", help="the admin port's /readyz")
    given = parser.parse_args()
    end = time.monotonic() + given.wait
    while not is_ready(given.url):
        if time.monotonic() >= end:
            sys.stderr.write(f"{given.url} does not say that deliveries can be accepted.\n")
            return 1
        time.sleep(ASK_EVERY_S)
    return 0


if __name__ == "__main__":
    sys.exit(main())
