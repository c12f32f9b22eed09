"""Train one trial of pixel-wise adversarial segmentation: plain PyTorch, no Ray, no MLflow.

What another program may rely on is named here; each name is imported when it is asked for.

    from trainable import Result, load_config, train_trial

    ended = train_trial(load_config(preset="demo", overrides=["lambda_adv=0.05"]))
    if isinstance(ended, Result):
        print(ended.val["miou"], [one["swa"]["miou"] for one in ended.readouts.values()])

- `TrialConfig` is one trial with all its settings, `Readout` the part of it that only says how the
  weights are averaged; `load_config` makes a trial from a preset or a YAML file, `presets` lists
  the presets, and `ConfigError` says what is wrong with a setting.
- `train_trial` trains a trial in its run folder, unless that was done, and returns its `Result`, or
  a `Failure` where it diverged.
- `load_model` reads the network of a run folder as a `SavedModel`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainable.storage.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from trainable.config.loading import load_config, presets
    from trainable.config.schema import ConfigError, Readout, TrialConfig
    from trainable.inference.saved_model import SavedModel, load_model
    from trainable.runs.results import Failure, Result
    from trainable.runs.trial import train_trial
else:
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "ConfigError": "trainable.config.schema",
            "Failure": "trainable.runs.results",
            "Readout": "trainable.config.schema",
            "Result": "trainable.runs.results",
            "SavedModel": "trainable.inference.saved_model",
            "TrialConfig": "trainable.config.schema",
            "load_config": "trainable.config.loading",
            "load_model": "trainable.inference.saved_model",
            "presets": "trainable.config.loading",
            "train_trial": "trainable.runs.trial",
        },
    )

__all__ = [
    "ConfigError",
    "Failure",
    "Readout",
    "Result",
    "SavedModel",
    "TrialConfig",
    "load_config",
    "load_model",
    "presets",
    "train_trial",
]
