"""Train one trial of pixel-wise adversarial segmentation: plain PyTorch, no Ray, no MLflow.

What another program may rely on is named here; each name is imported when it is asked for.

    from trainable import load_config, load_model

    config = load_config(preset="demo", overrides=["lambda_adv=0.05"])
    model = load_model(Path("runs/0123456789abcdef"))
    averaged = model.network(next(iter(model.readouts)))

- `TrialConfig` is one trial with all its settings, `Readout` the part of it that only says how the
  weights are averaged; `load_config` makes a trial from a preset or a YAML file, `presets` lists
  the presets, and `ConfigError` says what is wrong with a setting.
- `load_model` reads the network of a run folder as a `SavedModel`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainable.storage.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from trainable.config.loading import load_config, presets
    from trainable.config.schema import ConfigError, Readout, TrialConfig
    from trainable.inference.saved_model import SavedModel, load_model
else:
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "ConfigError": "trainable.config.schema",
            "Readout": "trainable.config.schema",
            "SavedModel": "trainable.inference.saved_model",
            "TrialConfig": "trainable.config.schema",
            "load_config": "trainable.config.loading",
            "load_model": "trainable.inference.saved_model",
            "presets": "trainable.config.loading",
        },
    )

__all__ = [
    "ConfigError",
    "Readout",
    "SavedModel",
    "TrialConfig",
    "load_config",
    "load_model",
    "presets",
]
