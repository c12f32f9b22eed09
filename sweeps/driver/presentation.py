"""Show a sweep in MLflow's own pages: its view while it trains, answer and figures at its end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.record.mlflow_calls import Patience
from analysis.record.schema import EXPERIMENT, RecordError
from sweeps.driver.best_config import BestConfig
from sweeps.driver.summary import SweepSummary, record_line
from sweeps.driver.tables import (
    best_cells,
    best_head,
    format_best,
    format_front,
    format_smallest_found,
    front_cells,
    front_head,
)
from sweeps.mlflow_ui.front_page import write_front_page
from sweeps.mlflow_ui.links import Place
from sweeps.mlflow_ui.notes import Answer
from sweeps.mlflow_ui.parent_page import BEST, Drawn, ParentPage
from sweeps.mlflow_ui.registry import register
from sweeps.record.mlflow_store import STORE_ERRORS, open_store
from sweeps.record.writer import MlflowWriter
from trainable.config.schema import ConfigError
from trainable.storage.redaction import first_line

if TYPE_CHECKING:
    from mlflow import MlflowClient

LAST_S = 120.0  # that the end of a sweep waits for its page: far more than it takes


class Presentation:
    """What a person sees of a sweep in MLflow's pages.

    None of it is needed by anything else: a store that does not take it is warned of, and left.

    Args:
        tracking_uri: The MLflow store.
        say: Called with each line for the person.
        warn: Called with each warning instead; None says it as all else is said.
        experiment: The name of the experiment.
        register: The name of the registered model that the best trial's model becomes a version
            of, None for no version.

    Attributes:
        place: Where the sweep stands in the store, None until that is known.
    """

    def __init__(
        self,
        tracking_uri: str,
        say: Callable[[str], None],
        warn: Callable[[str], None] | None = None,
        *,
        experiment: str = EXPERIMENT,
        register: str | None = None,
    ) -> None:
        self.tracking_uri = tracking_uri
        self.experiment = experiment
        self.register = register
        self.say = say
        self.warn = warn or say
        self.place: Place | None = None
        self._warned = False

    def open(self, record: MlflowWriter) -> None:
        """Write the experiment's note and the sweep's view, and say where it is to be seen.

        Args:
            record: The record of the sweep.
        """
        if self.place is not None:
            return
        try:
            self.place = write_front_page(
                record.client, record.runs.experiment_id, record.parent.run_id
            )
        except (*STORE_ERRORS, RecordError) as error:
            self._warn(error)
        else:
            self.say(record_line(self.tracking_uri, self.place))

    def conclude(self, summary: SweepSummary, drawn: Drawn | None) -> None:
        """Write the note of the sweep's parent run, and attach what was drawn and the best config.

        Args:
            summary: What came out of the sweep.
            drawn: Its figures, tables and report; None where there are none.
        """
        if self.place is None:
            return
        patience = Patience()
        patience.end_in(LAST_S)
        try:
            best = self._best(summary, self.place)
            page = ParentPage(
                answer=answer_of(summary),
                drawn=drawn,
                best=b"" if best is None else best.content(BEST).encode(),
                command="" if best is None else best.command(BEST),
            )
            client = open_store(self.tracking_uri, create=False, patience=patience)
            page.write(client, self.place)
            if self.register is not None:
                self._register(client, self.register, self.place, best)
        except (*STORE_ERRORS, ConfigError) as error:
            self._warn(error)

    def _register(
        self, client: MlflowClient, name: str, place: Place, best: BestConfig | None
    ) -> None:
        card = () if best is None else best.heading()
        found = register(client, name, place.parent_id, card)
        if found is None:
            self.warn(
                f"warning: no version of {name} is registered: the sweep is not complete, or no "
                "model of its best trial is logged"
            )
        else:
            state = "registered as" if found.is_new else "already"
            self.say(f"model of the best trial: {state} version {found.version} of {found.name}")

    def _best(self, summary: SweepSummary, place: Place) -> BestConfig | None:
        if summary.best is None:
            return None
        return BestConfig.read(self.tracking_uri, place.parent_id, self.experiment)

    def _warn(self, error: Exception) -> None:
        if not self._warned:
            cause = first_line(error, self.tracking_uri)
            self.warn(
                f"warning: the sweep's page in MLflow is not up to date ({cause}); `python -m "
                "sweeps.publish` writes it"
            )
        self._warned = True


def drawn_by(figure: str | None, sweep_key: str) -> Drawn | None:
    """Return what a sweep's end has drawn, None where it has drawn nothing.

    Args:
        figure: The path of its main figure, None without one.
        sweep_key: The key of the sweep.
    """
    if figure is None:
        return None
    path = Path(figure)
    return Drawn.read(path.parent, sweep_key, path.name)


def drawn_of(out: str, record: MlflowWriter) -> Drawn | None:
    """Return what a folder holds of a sweep, None unless it is drawn of the record as it is.

    Args:
        out: The folder of figures.
        record: The record of the sweep.
    """
    drawn = Drawn.read(Path(out), record.state.plan.sweep_key)
    children = record.children.values()
    finished = {child.run_id for child in children if child.status == "FINISHED"}
    return drawn if drawn is not None and drawn.run_ids == finished else None


def answer_of(summary: SweepSummary) -> Answer:
    """Return what a sweep has found, as its parent's note says it."""
    state, axes = summary.state, summary.state.plan.axes
    left = len(state.left())
    answer = Answer(
        question=state.plan.question,
        sentences=[*_sentences(summary)],
        why_partial=state.why_partial or (f"{left} training runs are left" if left else ""),
    )
    if summary.ranking is None:
        return answer
    if len(state.plan.objectives) > 1:
        return answer.with_table(
            front_head(summary.ranking, axes), front_cells(summary.ranking, axes)
        )
    return answer.with_table(best_head(summary.ranking, axes), best_cells(summary.ranking, axes))


def _sentences(summary: SweepSummary) -> Iterator[str]:
    if summary.best is not None:
        yield format_best(summary.best)
        if found := format_smallest_found(summary.best):
            yield found
    if summary.ranking is not None and (found := format_front(summary.ranking)):
        yield found
    yield from (mixture.sentence for mixture in summary.mixtures)
