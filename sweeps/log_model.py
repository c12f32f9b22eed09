"""Log the averaged generator of a recorded trial as an MLflow model, and print the model's URI.

    python -m sweeps.log_model RUN_ID

RUN_ID is MLflow's id of a finished trial; a sweep logs the model of its best trial itself. The
model takes RGB images, uint8 [N, 3, H, W] from 0 to 255, and returns logits, float32 [N, C, H, W];
`mlflow.pytorch.load_model(URI)` loads it without this package, and no code in it is unpickled.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

from sweeps.driver.options import StoreOptions, add_store_options
from sweeps.record.mlflow_store import STORE_ERRORS
from sweeps.record.model_export import log_model
from sweeps.record.moved_artifacts import bring_home
from sweeps.record.reader import read_trial
from sweeps.storage.mirror import open_storage
from trainable.cli.options import OK, add_network, command, ended_by_signals
from trainable.cli.parsed_options import read_options
from trainable.cli.parser import Parser, refuse
from trainable.config.schema import ConfigError
from trainable.storage.redaction import first_line, redact_uri


@dataclass(frozen=True, kw_only=True)
class LogModelOptions(StoreOptions):
    """The options of this command.

    Attributes:
        run_id: MLflow's, of a finished trial.
        network: Networks of one's own that the model may name.
    """

    run_id: str
    network: tuple[str, ...]


@ended_by_signals()
@command
def main() -> int:
    """Log the model that the command line asks for, and return the exit code."""
    options = read_options(LogModelOptions, parser().parse_args())
    try:
        read_trial(options.tracking_uri, options.run_id)  # refuses, and changes nothing
        bring_home(options.tracking_uri, options.experiment)
        trial = read_trial(options.tracking_uri, options.run_id)
        key = trial.tags["training_key"]
        storage, mirror = open_storage(options.storage, with_samples=False)
        if mirror is not None:
            mirror.fetch_model(key)
        folder = storage / key
        if not folder.is_dir():
            raise ConfigError(
                f"the storage (--storage) must hold the trial's run folder, but {folder} is not "
                "there; name the storage that its sweep had"
            )
        # The weights that training began with are not looked for.
        readout = trial.config(weights_sha256="").readout
        uri = log_model(trial, options.tracking_uri, folder, readout, options.network)
    except ConfigError as error:
        refuse(str(error))
    except STORE_ERRORS as error:
        store = redact_uri(options.tracking_uri)
        cause = first_line(error, options.tracking_uri)
        refuse(f"the MLflow store {store} must take the model, but {cause}; try again")
    print(uri)
    return OK


def parser() -> Parser:
    """Return the options of this command."""
    options = Parser(
        description=__doc__,
        module="sweeps.log_model",
        example="RUN_ID --storage runs/",
    )
    options.add_argument("run_id", metavar="RUN_ID", help="of a finished trial")
    add_store_options(options)
    add_network(options)
    return options


if __name__ == "__main__":
    sys.exit(main())
