"""Ask the bot in this container whether it is ready: status 0 if so, or if it was told not to be asked."""

import http.client
import os
import sys
import urllib.request

PORT = (os.environ.get("PLEXLINK_WEB_PORT") or "8080").strip()
PATIENCE_SECONDS = 8.0

if PORT != "0":
    try:
        # The proxies of the environment are for other places.
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(
            f"http://127.0.0.1:{PORT}/readyz", timeout=PATIENCE_SECONDS
        )
    except (OSError, ValueError, http.client.HTTPException) as error:
        sys.exit(f"not ready: {error}")
