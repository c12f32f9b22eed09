"""The model of a sweep's best trial as a version of a registered model, where that is asked for."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from analysis.record.mlflow_calls import StoreError

if TYPE_CHECKING:
    from mlflow import MlflowClient

NAME = re.compile(r"\w[\w .-]{0,199}")  # MLflow takes more, but for `/` and `:`
ALIAS = "best"  # of the version that was registered last
LOGGED = "models:/"  # how the URI of a logged model begins
ABOUT = (
    "Segmentation networks with averaged weights: RGB images, uint8 [N, 3, H, W] from 0 to 255, to "
    "logits, float32 [N, C, H, W]. A version is the model of the best trial of a sweep; the alias "
    f"`{ALIAS}` is at the one that was registered last."
)


@dataclass(frozen=True, kw_only=True)
class Registered:
    """A version of a registered model.

    Attributes:
        name: The name of the registered model.
        version: The number of the version.
        is_new: Whether it was not there before.
    """

    name: str
    version: str
    is_new: bool


def registered_name(text: str) -> str:
    """Read the option that names a registered model.

    Raises:
        ArgumentTypeError: MLflow takes no such name.
    """
    if not NAME.fullmatch(text):
        raise argparse.ArgumentTypeError(
            "must be 1 to 200 letters, digits, blanks or any of `_.-`, the first no blank or sign, "
            f"but got {text[:50]!r}"
        )
    return text


def register(
    client: MlflowClient, name: str, parent_id: str, card: Iterable[str]
) -> Registered | None:
    """Make the logged model of a sweep's best trial a version of a registered model.

    A model that is a version already stays the one it is.

    Args:
        client: The client of the store, which is the registry, too.
        name: The name of the registered model, which is made where there is none.
        parent_id: MLflow's id of the sweep's parent run.
        card: What the version says of itself, a paragraph each.

    Returns:
        The version, None where no model of the sweep is logged.

    Raises:
        StoreError: The store does not take it.
    """
    tags = client.get_run(parent_id).data.tags
    model, run_id = tags.get("best_model", ""), tags.get("best_run", "")
    if not model:
        return None
    try:
        client.create_registered_model(name, description=ABOUT)
    except StoreError as error:
        if error.code != "RESOURCE_ALREADY_EXISTS":
            raise
    versions = client.search_model_versions(f"name='{name}'")
    found = next((one for one in versions if one.run_id == run_id and one.source == model), None)
    version = found or client.create_model_version(
        name,
        model,
        run_id=run_id,
        description="\n\n".join(card),
        model_id=model.removeprefix(LOGGED) if model.startswith(LOGGED) else None,
    )
    client.set_registered_model_alias(name, ALIAS, str(version.version))
    return Registered(name=name, version=str(version.version), is_new=found is None)
