"""What a run of the record was made from, in one tag that MLflow's pages do not show.

They leave out tags whose names begin with `mlflow.`, and filters find these all the same. A dozen
hashes and the fields of the config that nobody set would otherwise stand between what was asked and
what came out. `trial_key` and `sweep_key`, by which runs are found, stay tags of their own.

A record of schema 1 has a tag for each hash, and all fields of the config as params.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from mlflow.entities import Run

TAG = "mlflow.pixelwise"
USER = "mlflow.user"  # MLflow's own tag of who made a run; ours is `user@host`
FIELDS = "config"  # in the tag: the fields of the config that no param tells as they were trained
# What a driver notes of a run: its keys, what made it, and the hashes that say what
# of it is in the record: of all numbers, those of the logged model, and of the environment.
FACTS = (
    *("training_key", "code_version", "data_fingerprint", "git_commit"),
    *("record_hash", "model_of", "capture_hash"),
)


class RecordError(ValueError):
    """The record cannot answer the question; the message is one line that says why."""


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What a run was made from.

    Attributes:
        facts: Those of `FACTS` that the run has.
        config: The fields of the config that was trained, as text; of a sweep, those that its
            trials share.
    """

    facts: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of_run(cls, run: Run) -> Self:
        """Return what an MLflow run was made from.

        Raises:
            RecordError: Its tag holds something else.
        """
        return cls.read(run.info.run_id, run.data.tags, run.data.params)

    @classmethod
    def read(cls, run_id: str, tags: Mapping[str, str], params: Mapping[str, str]) -> Self:
        """Return what the run with these tags and params was made from.

        Raises:
            RecordError: Its tag holds something else.
        """
        text = tags.get(TAG)
        if text is None:  # of schema 1
            return cls(facts={name: tags[name] for name in FACTS if name in tags}, config=params)
        try:
            facts = json.loads(text)
            fields = facts.pop(FIELDS)
            if not all(isinstance(one, str) for one in (*facts.values(), *fields.values())):
                raise TypeError
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            raise RecordError(
                f"{TAG} of run {run_id} holds texts by name in JSON, but is {text[:50]!r}; delete "
                "the run, and `python -m sweeps.publish` writes it anew"
            ) from None
        return cls(facts=facts, config={**params, **fields})

    def tag(self, params: Mapping[str, str]) -> str:
        """Return the text of the tag for a run that has these params."""
        told = {name: text for name, text in self.config.items() if params.get(name) != text}
        return json.dumps({**self.facts, FIELDS: told}, sort_keys=True)
