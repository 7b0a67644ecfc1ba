"""A real nginx on loopback, with the files of deploy/nginx as an admin would install them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.e2e.process import free_ports, scratch_directory

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

FILES: Final = Path(__file__).parents[2] / "deploy" / "nginx"

# The ways in which servers' own configurations hand requests on. Breakwater's lines stand before them.
SITES: Final = {
    "one_location": """
        location / {
            proxy_set_header Host $host;
            proxy_pass BACKEND;
        }""",
    "files_first": """
        root DIRECTORY;
        error_page 404 500 501 502 503 504 /500.html;
        client_max_body_size 99m;
        location / { try_files $uri @server; }
        location ~ /\\. { return 403; }
        location ~ ^/(assets|users)/static { return 403; }
        location @server {
            proxy_intercept_errors on;
            proxy_set_header Host $host;
            proxy_pass BACKEND;
        }""",
    "by_accept_header": """
        location / {
            set $to BACKEND;
            if ($http_accept ~ "^application/.*$") { set $to BACKEND; }
            if ($request_method = POST) { set $to BACKEND; }
            proxy_set_header Host $host;
            proxy_pass $to;
        }""",
}

# Each can be read as an inbox by some server; none may get past the relay.
SPELLINGS: Final = (
    "//inbox",
    "/users//alice/inbox",
    "/users/alice/inbox//",
    "/users/x/../alice/inbox",
    "/users/alice/./inbox",
    "/assets/%2e%2e/users/alice/inbox",
    "/users%2falice%2finbox",
    "/users/alice/%69nbox",
    "/%69%6e%62%6f%78",
    "/INBOX",
    "/users/alice/Inbox",
    "/inbox.json",
    "/users/alice/inbox.html",
    "/inbox;v=1",
    "/inbox%3fx",
    "/inbox%20",
    "/inbox%0a",
    "/a%0ab/inbox",
    "/inbox%2f",
    "/inbox%23",
)

_START_SECONDS: Final = 30
_POLL_SECONDS: Final = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Nginx:
    """An nginx that runs.

    Attributes:
        port: Where it listens.
    """

    port: int


def find_nginx() -> str | None:
    """Find nginx, which Debian keeps out of the way of ordinary users."""
    return shutil.which("nginx", path=f"{os.defpath}:/usr/sbin:/usr/local/sbin:/usr/local/bin")


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaPorts:
    """Where the media front is.

    Attributes:
        front: Where it listens.
        inner: Where it finds what is behind it: another port of the same nginx.
    """

    front: int
    inner: int


@contextlib.asynccontextmanager
async def open_nginx(
    program: str, *, relay_port: int, backend_url: str, site: str, media: MediaPorts | None = None
) -> AsyncIterator[Nginx]:
    """Check the configuration with `nginx -t`, then run it until the block ends.

    Args:
        program: The nginx.
        relay_port: Where the inbox door is.
        backend_url: Where the instance's server is.
        site: What the instance's own configuration says.
        media: Where the media front is; None where it is closed.
    """
    with scratch_directory() as directory:
        (port,) = free_ports(1)
        log = directory / "error.log"
        config = _write_config(
            directory,
            port=port,
            relay_port=relay_port,
            site=site.replace("BACKEND", backend_url),
            media=media,
        )
        command = (program, "-p", str(directory), "-c", str(config), "-e", str(log))
        check = await asyncio.create_subprocess_exec(
            *command, "-t", "-q", stderr=asyncio.subprocess.STDOUT, stdout=asyncio.subprocess.PIPE
        )
        said, _ = await check.communicate()
        # Warnings count as well: an admin would see them at each reload.
        assert (check.returncode, said) == (0, b""), said.decode()
        process = await asyncio.create_subprocess_exec(*command)
        try:
            await _wait_for(port, process)
            yield Nginx(port=port)
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
            await process.wait()


def _write_config(
    directory: Path, *, port: int, relay_port: int, site: str, media: MediaPorts | None
) -> Path:
    http, snippet = (directory / name for name in ("http.conf", "snippet.conf"))
    lines = (FILES / "breakwater-http.conf").read_text(encoding="utf-8")
    assert "127.0.0.1:8790" in lines
    http.write_text(lines.replace("127.0.0.1:8790", f"127.0.0.1:{relay_port}"), encoding="utf-8")
    snippet.write_text((FILES / "breakwater-server.conf").read_text(encoding="utf-8"), encoding="utf-8")
    includes, first_lines = _install_media(directory, media) if media is not None else ("", "")
    (directory / "500.html").write_text("sorry", encoding="utf-8")
    # Only a master that runs as root may choose its workers' user, and says so where it may not.
    user = "user root;" if os.geteuid() == 0 else ""
    config = directory / "nginx.conf"
    config.write_text(
        f"""
        {user}
        daemon off;
        worker_processes 1;
        pid {directory}/nginx.pid;
        events {{}}
        http {{
            access_log off;
            client_body_temp_path {directory}/body;
            proxy_temp_path {directory}/proxy;
            fastcgi_temp_path {directory}/fastcgi;
            uwsgi_temp_path {directory}/uwsgi;
            scgi_temp_path {directory}/scgi;
            include {http};
            {includes}
            server {{
                listen 127.0.0.1:{port};
                server_name social.example;
                {first_lines}
                include {snippet};
                {site.replace("DIRECTORY", str(directory))}
            }}
        }}""",
        encoding="utf-8",
    )
    return config


def _install_media(directory: Path, media: MediaPorts) -> tuple[str, str]:
    """Write the files of the media front; return the lines that an admin adds to install them."""
    http, snippet = (directory / name for name in ("media-http.conf", "media-snippet.conf"))
    lines = (FILES / "breakwater-media-http.conf").read_text(encoding="utf-8")
    for written, meant in (
        ("127.0.0.1:8794", f"127.0.0.1:{media.front}"),
        ("    8795 ", f"    {media.inner} "),
    ):
        assert lines.count(written) == 1
        lines = lines.replace(written, meant)
    http.write_text(lines, encoding="utf-8")
    snippet.write_text((FILES / "breakwater-media-server.conf").read_text(encoding="utf-8"), encoding="utf-8")
    return f"include {http};", f"listen 127.0.0.1:{media.inner}; include {snippet};"


async def _wait_for(port: int, process: asyncio.subprocess.Process) -> None:
    async with asyncio.timeout(_START_SECONDS):
        while True:
            assert process.returncode is None, "nginx ended at its start"
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                return
            await asyncio.sleep(_POLL_SECONDS)
