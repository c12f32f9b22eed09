"""Run folders on an S3 API: killed drivers, and a store that is overloaded, or does not answer."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import boto3
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

from faults.bench import Bench
from faults.sweep import GRID, Sweep, wait_for
from faults.verdict import Verdict

ACCESS = {"AWS_ACCESS_KEY_ID": "tester", "AWS_SECRET_ACCESS_KEY": "tester"}
BUCKET = "sweeps"
SLOW_DOWN = b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>later</Message></Error>"


class FaultyS3:
    """moto's S3 on a port of the loopback, which can be told to refuse or not to answer."""

    def __init__(self) -> None:
        logging.getLogger("werkzeug").setLevel(logging.ERROR)  # not each request
        self.refuses = False
        self.mute = threading.Event()
        self.mute.set()  # set: it answers
        self._answer = DomainDispatcherApplication(create_backend_app)
        self._server = make_server("127.0.0.1", 0, self, threaded=True)
        self.url = f"http://127.0.0.1:{self._server.port}"
        self.storage = f"s3://{BUCKET}/runs?endpoint_override={self.url}&region=us-east-1"

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        self.mute.wait()
        if self.refuses:
            environ["wsgi.input"].read()
            start("503 Slow Down", [("Content-Type", "application/xml")])
            return [SLOW_DOWN]
        answer: Iterable[bytes] = self._answer(environ, start)
        return answer

    @contextmanager
    def running(self) -> Iterator[Any]:
        """Serve, and yield a client with which the bucket was made."""
        thread = threading.Thread(target=self._server.serve_forever)
        thread.start()
        try:
            client = boto3.client(
                "s3",
                endpoint_url=self.url,
                region_name="us-east-1",
                aws_access_key_id=ACCESS["AWS_ACCESS_KEY_ID"],
                aws_secret_access_key=ACCESS["AWS_SECRET_ACCESS_KEY"],
            )
            client.create_bucket(Bucket=BUCKET)
            yield client
        finally:
            self._server.shutdown()
            thread.join()


def s3(bench: Bench) -> Verdict:
    """Kill a driver whose run folders are on S3, which refuses (503) and is silent for a while."""
    faults = (_refuses, _silent, _driver_killed)
    total = Verdict(name="S3")
    for fault in faults[:1] if bench.short else faults:
        server = FaultyS3()
        with server.running() as client:
            sweep = bench.sweep(GRID, "--storage", server.storage, environment=ACCESS)
            begun = time.monotonic()
            driver = sweep.start()
            wait_for("a result", lambda: _keys(client, "result.json"), driver)
            fault(server, driver)
            sweep.kills += 1
            code = sweep.wait(driver)
            if fault is _driver_killed:
                code = sweep.finish()
            _bring_home(client, sweep)
            total += bench.ended(total.name, sweep, begun, code)
    return total


def _refuses(server: FaultyS3, driver: Any) -> None:
    server.refuses = True
    time.sleep(10)
    server.refuses = False


def _silent(server: FaultyS3, driver: Any) -> None:
    server.mute.clear()
    time.sleep(25)
    server.mute.set()


def _driver_killed(server: FaultyS3, driver: Any) -> None:
    driver.kill()


def _keys(client: Any, name: str) -> list[str]:
    listed = client.list_objects_v2(Bucket=BUCKET).get("Contents", [])
    return [one["Key"] for one in listed if one["Key"].endswith(name)]


def _bring_home(client: Any, sweep: Sweep) -> None:
    """Copy what the store holds to where a verdict looks."""
    for key in _keys(client, ""):
        if key.endswith("/"):  # pyarrow's mark of a folder
            continue
        path = sweep.folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        client.download_file(BUCKET, key, str(path))
