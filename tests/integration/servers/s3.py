"""An S3 server in memory."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.integration.servers import absent


@contextmanager
def s3_server() -> Iterator[dict[str, Any]]:
    """Serve one bucket, `bucket`, until the block ends; give what s3fs takes to reach it."""
    missing = [name for name in ("moto", "s3fs", "flask") if importlib.util.find_spec(name) is None]
    if missing:
        absent(" and ".join(missing), "pip install 'moto[server]' s3fs")
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        url = f"http://{host}:{port}"
        keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
        client = boto3.client("s3", endpoint_url=url, region_name="us-east-1", **keys)
        client.create_bucket(Bucket="bucket")
        client.close()
        yield {"endpoint_url": url, "key": "test", "secret": "test"}
    finally:
        server.stop()
