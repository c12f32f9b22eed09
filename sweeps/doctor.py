"""Say what of this machine is in the way of a sweep, and what mends it.

    python -m sweeps.doctor --data-root data/ --tracking-uri http://localhost:5000

It looks at Python, torch, GPUs, memory, limits, Ray, the MLflow store, storage, cache and data, and
changes nothing. Of data it reads the lists alone: `python -m trainable.prepare check DIR` looks at
every file. Exit codes: 0 all is well, 1 something is wrong, 2 bad input.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from dataclasses import dataclass

from sweeps.driver.options import StoreOptions, add_store_options
from trainable.cli.options import OK, SOME_FAILED, command, ended_by_signals
from trainable.cli.parsed_options import read_options
from trainable.cli.parser import Parser
from trainable.storage.redaction import printable, redact


@dataclass(frozen=True, kw_only=True)
class DoctorOptions(StoreOptions):
    """The options of this command.

    Attributes:
        data_roots: Folders of real data to look at.
        cache_dir: Folder of decoded data, empty for the user's own.
        start_ray: Whether Ray is started, too.
        json: Whether one JSON object goes to standard output.
    """

    data_roots: tuple[str, ...]
    cache_dir: str
    start_ray: bool
    json: bool


@ended_by_signals()
@command
def main() -> int:
    """Look at what the command line names, say what was found, and return the exit code."""
    options = read_options(DoctorOptions, parser().parse_args())
    from sweeps.driver.health import look  # torch, Ray and MLflow take seconds to load

    found = []
    for finding in look(
        tracking_uri=options.tracking_uri,
        experiment=options.experiment,
        storage=options.storage,
        cache_dir=options.cache_dir,
        data_roots=options.data_roots,
        start_ray=options.start_ray,
    ):
        found.append(finding)
        if not options.json:
            _say(f"{'wrong' if finding.advice else 'ok':7}{finding.what:9}{finding.said}")
            if finding.advice:
                _say(f"{'':16}{finding.advice}")
    wrong = sum(bool(finding.advice) for finding in found)
    if options.json:
        said = [dataclasses.asdict(finding) | {"ok": not finding.advice} for finding in found]
        sys.stdout.write(f"{json.dumps({'findings': said, 'wrong': wrong})}\n")
    else:
        _say(f"{wrong} of {len(found)} are wrong" if wrong else "all is well")
    return SOME_FAILED if wrong else OK


def _say(line: str) -> None:
    sys.stdout.write(f"{printable(redact(' '.join(line.splitlines())))}\n")
    sys.stdout.flush()


def parser() -> Parser:
    """Return the options of this command."""
    options = Parser(description=__doc__, module="sweeps.doctor", example="--data-root data/")
    options.add_argument(
        "--data-root",
        dest="data_roots",
        action="append",
        default=[],
        metavar="DIR",
        help="folder of real data to look at; may stand several times",
    )
    options.add_argument(
        "--cache-dir", default="", metavar="DIR", help="of decoded data (default: the user's)"
    )
    options.add_argument(
        "--start-ray", action="store_true", help="start Ray, too, which takes some seconds"
    )
    options.add_argument("--json", action="store_true", help="one JSON object instead of lines")
    add_store_options(options)
    return options


if __name__ == "__main__":
    sys.exit(main())
