"""What the tests of several files of deploy/ need."""

from __future__ import annotations

import pytest

from tests.deploy.nginx import find_nginx


@pytest.fixture(scope="session")
def nginx_program() -> str:
    """The nginx of this machine."""
    program = find_nginx()
    if program is None:
        pytest.skip("nginx is not installed (apt-get install nginx), so deploy/nginx was not tried")
    return program
