"""Write the best setting of a sweep as a config that trains it again.

    python -m sweeps.best lambda_grid --out best.yaml
    python -m trainable.train --config best.yaml

It is the setting that the sweep itself, its record and the report name. The config has all fields
that differ from the defaults, and every command takes it with `--config`; with the same code and
data its training run has the same key, and so the same numbers. What it lacks decides none: where
data and pretrained weights lie, and on what is trained. The record alone is read. Exit codes: 0, or
2 for bad input, with one line on standard error and nothing written.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from analysis.record.choice import REVISIONS, RULE
from analysis.record.tracking_uri import describe_choice
from sweeps.driver.best_config import BestConfig, shown
from sweeps.driver.options import add_experiment, add_tracking_uri
from trainable.cli.options import OK, check_writable, command, ended_by_signals
from trainable.cli.parsed_options import read_options
from trainable.cli.parser import Parser, refuse
from trainable.cli.streams import tell_who_waits
from trainable.config.schema import ConfigError
from trainable.storage.files import write_atomically
from trainable.storage.redaction import redact_uri


@dataclass(frozen=True, kw_only=True)
class BestOptions:
    """The options of this command.

    Attributes:
        sweep: Name, key or parent run of the sweep.
        tracking_uri: MLflow store that holds it.
        experiment: MLflow's experiment in it.
        out: The file to write.
        force: Whether another file of that name is overwritten.
    """

    sweep: str
    tracking_uri: str
    experiment: str
    out: str
    force: bool


@ended_by_signals()
@command
def main() -> int:
    """Write the config that the command line asks for, and return the exit code."""
    options = read_options(BestOptions, parser().parse_args())
    chosen = describe_choice(options.tracking_uri, options.experiment)
    tell_who_waits(f"reading {chosen or redact_uri(options.tracking_uri)}")
    out = Path(options.out)
    try:
        check_writable("--out", out.parent)
        best = BestConfig.read(options.tracking_uri, options.sweep, options.experiment)
        _write(out, best.content(options.out).encode(), force=options.force)
    except ConfigError as error:
        refuse(str(error))
    for line in (*best.heading(), f"train it again with: {best.command(options.out)}"):
        print(shown(line), file=sys.stderr)
    print(out)
    return OK


def _write(out: Path, content: bytes, *, force: bool) -> None:
    """Write the file, unless another one is there.

    Raises:
        ConfigError: It is, or a folder is.
    """
    if out.is_dir():
        raise ConfigError(f"--out must name a file, but {out} is a folder")
    if out.exists() and not force and out.read_bytes() != content:
        raise ConfigError(
            f"--out must name a new file, but {out} is there with another content; name another, "
            "or overwrite it with --force"
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(out, content)


def parser() -> Parser:
    """Return the options of this command."""
    options = Parser(
        description=__doc__,
        module="sweeps.best",
        example="lambda_grid --out best.yaml",
    )
    options.add_argument(
        "sweep",
        metavar="SWEEP",
        help=f"its sweep_key, the id of its parent run, or a name: {RULE}. {REVISIONS}",
    )
    add_tracking_uri(options)
    add_experiment(options)
    options.add_argument(
        "--out", default="best.yaml", metavar="FILE", help="config to write (default: best.yaml)"
    )
    options.add_argument("--force", action="store_true", help="overwrite another file of that name")
    return options


if __name__ == "__main__":
    sys.exit(main())
