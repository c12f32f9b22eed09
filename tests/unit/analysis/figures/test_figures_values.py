"""What the figures draw: the numbers of their tables, where they belong, and refusals."""

import math
import re
from collections.abc import Sequence
from typing import Any

import figure_data
import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from scipy import stats

from analysis import figures, load_paper
from analysis.figures.appearance import DescribedFigure
from analysis.figures.axes import LambdaAxis, in_sight, thin_labels
from analysis.figures.colors import LINE_STYLES, muted, voc_colours
from analysis.figures.style import SERIES
from analysis.record.schema import Race, RecordError
from analysis.stats.aggregation import is_logarithmic, varying
from analysis.stats.families import against
from analysis.stats.families import gains as gains_of
from analysis.stats.importance import describe_importance
from analysis.stats.ranking import rank
from analysis.stats.rounding import p_value
from analysis.stats.swa import start_share
from trainable.data.sources.labels import palette

PAPER = load_paper()


def bars(axes: Axes) -> list[tuple[float, float, float, float]]:
    """Return x, mean, low and high of every point with an error bar, NaN where it has none."""
    found = []
    for each in axes.containers:
        if isinstance(each, ErrorbarContainer):
            line, _, (segments,) = each.lines
            xs, means = np.asarray(line.get_data(), dtype=float)
            for x, mean, ends in zip(xs, means, segments.get_segments(), strict=True):
                low, high = ends[:, 1] if len(ends) else (math.nan, math.nan)
                found.append((x, mean, low, high))
    return found


def assert_drawn(axes: Axes, table: pd.DataFrame) -> None:
    """Each row of the table must be drawn once, in percent, and nothing else."""
    drawn = sorted(bar[1:] for bar in bars(axes))
    wanted = sorted((100 * table[["mean", "ci_low", "ci_high"]]).itertuples(index=False, name=None))
    np.testing.assert_allclose(drawn, wanted)


def described(figure: Figure) -> str:
    """Return the sentence of what a figure shows, its formulas as in its caption."""
    assert isinstance(figure, DescribedFigure)
    return figure.shows


def heights(figure: Figure, look: int) -> list[Any]:
    """Return the y values of the lines in a colour of `LINE_STYLES`."""
    lines: Any = figure.axes[0].lines
    return [list(line.get_ydata()) for line in lines if line.get_color() == LINE_STYLES[look].color]


# The SWA study


def test_swa_table_has_interval_and_paired_gain_of_each_readout() -> None:
    trials = figure_data.swa_grid(ns=(5, 10), thresholds=(0.0, 0.5))
    table = figures.swa_table(trials)
    assert len(table) == 2 * 2 * 2
    row = table[(table["swa_rule"] == "eq7") & (table["swa_n"] == 10)].iloc[1]
    own = trials[(trials["swa_rule"] == "eq7") & (trials["swa_n"] == 10)]
    own = own[own["swa_threshold"] == 0.5]
    gains = own["swa/miou"] - own["val/miou"]
    assert (row["n_seeds"], row["mean"]) == (3, pytest.approx(own["swa/miou"].mean()))
    assert row["gain"] == pytest.approx(gains.mean())
    # With intervals for the eight readouts at once.
    keys = ["swa_rule", "swa_n", "swa_threshold"]
    averaged, raw = (
        {
            key: dict(zip(rows["seed"], rows[metric], strict=True))
            for key, rows in trials.groupby(keys)
        }
        for metric in ("swa/miou", "val/miou")
    )
    told = gains_of(averaged, raw).each["eq7", 10, 0.5]
    assert (row["gain_low"], row["gain_high"], told.family) == (told.low, told.high, 8)


@pytest.mark.parametrize(
    ("rule", "n", "threshold", "share"),
    # The first two are METHOD's numbers for 20,000 iterations; half of them leave its root.
    [
        ("eq7", 100, 0.0, 0.137),
        ("eq7", 500, 0.0, 0.923),
        ("eq7", 100, 0.5, 0.137**0.5),
        ("ema", 100, 0.0, 0.99**200),
        ("uniform", 100, 0.0, 0.0),
    ],
)
def test_share_of_the_start_follows_eq7(rule: str, n: int, threshold: float, share: float) -> None:
    trial = {"swa_rule": rule, "swa_n": n, "swa_threshold": threshold}
    trial |= {"iterations": 20000, "swa_decay": 0.99}
    assert start_share(trial) == pytest.approx(share, abs=6e-4)


@pytest.mark.parametrize(
    ("name", "along", "held"),
    [("swa_threshold", "swa_threshold", "swa_n"), ("swa_n", "swa_n", "swa_threshold")],
)
def test_swa_lines_are_each_rule_at_its_best(name: str, along: str, held: str) -> None:
    trials = figure_data.swa_grid(dataset="voc2012")
    table = figures.swa_table(trials)
    best = {
        rule: rows.groupby(held)["mean"].mean().idxmax() for rule, rows in table.groupby("swa_rule")
    }
    wanted = table[table[held] == table["swa_rule"].map(best)]
    axes = getattr(figures, name)(trials, PAPER).axes[0]
    assert_drawn(axes, wanted)
    gained = [bar[1:] for bar in bars(getattr(figures, name)(trials, PAPER).axes[1])]
    expected = 100 * wanted[["gain", "gain_low", "gain_high"]]
    np.testing.assert_allclose(sorted(gained), sorted(expected.itertuples(index=False, name=None)))
    raw = 100 * trials.drop_duplicates("seed")["val/miou"].mean()
    levels = [line for line in axes.lines if list(line.get_xdata()) == [0, 1]]
    assert [line.get_ydata()[0] for line in levels] == [pytest.approx(raw)]
    assert len([p for p in axes.patches if p.get_alpha()]) == 1
    stars = [float(y) for line in axes.lines if line.get_marker() == "*" for y in line.get_ydata()]
    assert stars == ([73.1] if along == "swa_threshold" else [])


def test_the_second_axis_tells_the_share_of_the_start_under_eq7() -> None:
    trials = figure_data.swa_grid(ns=(1, 10, 100), thresholds=(0.0,)).assign(iterations=20000)
    *_, top = figures.swa_n(trials, PAPER).axes
    assert [label.get_text() for label in top.get_xticklabels()] == ["0 %", "<1 %", "14 %"]
    assert "Eq. 7" in top.get_xlabel()
    without = figures.swa_n(trials[trials["swa_rule"] == "uniform"], PAPER)
    assert len(without.axes) == 2


def test_heat_map_cells_name_miou_gain_and_the_share_of_the_start() -> None:
    trials = figure_data.swa_grid(ns=(5, 50), thresholds=(0.0, 0.5))
    trials = trials[(trials["swa_n"] == 5) | (trials["swa_threshold"] == 0)]  # one cell is empty
    table = figures.swa_table(trials)
    own = table[table["swa_rule"] == "eq7"]
    axes = figures.swa_heatmap(trials, "eq7").axes[0]
    cells = {text.get_position(): text.get_text() for text in axes.texts}
    for row in own.itertuples():
        at = (0 if row.swa_threshold == 0 else 1, 0 if row.swa_n == 5 else 1)
        gain = f"{100 * row.gain:+.1f}".replace("-", "\N{MINUS SIGN}")
        share = f"{100 * row.start_share:.0f} %" if row.start_share >= 0.01 else "<1 %"
        assert cells[at] == f"{100 * row.mean:.1f}\n{gain}\nstart {share}"
    assert cells[1, 1] == "\N{EN DASH}"
    assert "start" not in figures.swa_heatmap(trials, "uniform").axes[0].texts[0].get_text()
    with pytest.raises(RecordError, match="swa_rule=ema; there are: eq7, uniform"):
        figures.swa_heatmap(trials, "ema")


def test_a_heat_map_of_more_cells_than_can_be_read_is_of_colours_alone() -> None:
    thresholds = [i / 20 for i in range(11)]
    trials = figure_data.swa_grid(seeds=1, rules=("ema",), ns=range(1, 11), thresholds=thresholds)
    figure = figures.swa_heatmap(trials, "ema")
    axes = figure.axes[0]
    assert not axes.texts
    assert len(axes.images[0].get_array()) == 10  # type: ignore[arg-type]
    assert [label.get_text() for label in axes.get_yticklabels()] == [str(n) for n in range(1, 11)]
    assert "difference" not in figure.get_supxlabel()


def test_swa_figures_tell_where_the_gain_is_highest() -> None:
    trials = figure_data.swa_grid(ns=(5, 50), thresholds=(0.0,))
    table = figures.swa_table(trials)
    told = described(figures.swa_n(trials, PAPER))
    best = table[table["swa_rule"] == "uniform"].nlargest(1, "mean").iloc[0]
    cell = f"{100 * best['mean']:.1f} % ({100 * best['gain']:+.1f} points) at $n$"
    assert f"uniform {cell} = {best['swa_n']:g}." in told
    lowest = table[table["swa_rule"] == "eq7"]["mean"].min()
    assert f"down to {100 * lowest:.1f} % at $n$ = 50" in described(
        figures.swa_heatmap(trials, "eq7")
    )


def test_masks_tell_which_share_of_pixels_is_right_but_for_void_ones() -> None:
    trials = figure_data.ablation()
    masks = figure_data.masks_of(trials, images=1, stages=(120, 240))
    for samples in masks.values():
        samples["truth-0"] = np.array([[255, 1, 1, 1, 1]], dtype=np.uint8)
        samples |= {
            "raw-120-0": np.array([[1, 1, 0, 0, 0]], dtype=np.uint8),
            "raw-240-0": np.array([[1, 1, 1, 0, 0]], dtype=np.uint8),
            "swa-0": np.array([[1, 1, 1, 1, 1]], dtype=np.uint8),
        }
    five = figures.fig5(trials, masks=masks, classes=figure_data.CLASSES)
    assert described(five) == (
        "Pixels of 1 image with the true label: iteration 120 25.0 %, iteration 240 50.0 %, "
        "averaged 100.0 %."
    )
    seven = figures.fig7(trials, masks=masks, classes=figure_data.CLASSES)
    assert described(seven).endswith("baseline 50.0 %, proposed 100.0 %.")


def test_fig8_counts_the_generators_on_which_the_adversary_helps() -> None:
    trials = figure_data.ablation(generators=("a_net", "b_net"))
    ours = (trials["generator"] == "a_net") & (trials["adversarial"] == "pixelwise")
    theirs = (trials["generator"] == "a_net") & (trials["adversarial"] == "none")
    trials.loc[ours, "swa/miou"] = trials.loc[theirs, "swa/miou"].to_numpy() - 0.02
    assert "above the baseline on 1 of 2 generators" in described(figures.fig8(trials))
    assert "means: -2.0 to +" in described(figures.fig8(trials))


def test_training_runs_that_differ_have_no_common_level() -> None:
    trials = figure_data.swa_grid(ns=(5,), thresholds=(0.0, 0.5))
    trials.loc[trials["swa_threshold"] == 0.5, "training_key"] += "x"
    with pytest.raises(RecordError, match="one training run per seed, but 6 runs share 3 seeds"):
        figures.swa_n(trials, PAPER)


# The ablation


def test_fig8_draws_its_table_with_and_without_adversary_and_swa() -> None:
    trials = figure_data.ablation(generators=("deeplab_small", "deeplabv3_resnet18"))
    table = figures.fig8_table(trials)
    assert len(table) == 2 * 3 * 2
    assert set(table["arm"]) == {"none", "standard", "pixelwise"}
    assert_drawn(figures.fig8(trials).axes[0], table)


def test_lambda_zero_is_the_baseline_whatever_its_adversary() -> None:
    trials = figure_data.ablation()
    trials["adversarial"] = trials["adversarial"].replace("none", "pixelwise")
    pd.testing.assert_frame_equal(
        figures.fig8_table(trials), figures.fig8_table(figure_data.ablation())
    )


def test_fig6_draws_mean_and_band_over_seeds_and_the_averaged_weights_at_the_end() -> None:
    trials = figure_data.ablation()
    curves = figure_data.curves_of(trials)
    table = figures.fig6_table(trials, curves=curves)
    axes = figures.fig6(trials, curves=curves).axes[0]
    for arm, look in (("none", 1), ("pixelwise", 0)):
        rows = table[table["arm"] == arm]
        own = trials.loc[trials["adversarial"] == arm, "run_id"]
        at = curves[curves["run_id"].isin(own) & (curves["metric"] == "val/miou")]
        expected = at.groupby("iteration")["value"].mean()
        assert rows["mean"].tolist() == pytest.approx(expected.tolist())
        lines: Any = [line for line in axes.lines if line.get_color() == LINE_STYLES[look].color]
        assert any(
            len(line.get_ydata()) == len(rows) and np.allclose(line.get_ydata(), 100 * rows["mean"])
            for line in lines
        )
    bands: list[Any] = [c for c in axes.collections if isinstance(c, PolyCollection)]
    assert len(bands) == 2
    top = max(float(band.get_paths()[0].vertices[:, 1].max()) for band in bands)
    assert top == pytest.approx(100 * table["ci_high"].max())
    ends = trials[trials["adversarial"].isin(["none", "pixelwise"])]
    ends = ends.groupby("adversarial")["swa/miou"].mean() * 100
    assert sorted(mean for _, mean, *_ in bars(axes)) == pytest.approx(sorted(ends))


def test_fig6_tells_both_weights_at_the_end_and_ticks_no_iteration_after_it() -> None:
    trials = figure_data.ablation()
    figure = figures.fig6(trials, curves=figure_data.curves_of(trials))
    means = 100 * trials.groupby("adversarial")[["val/miou", "swa/miou"]].mean()
    for arm, name in (("none", "baseline"), ("pixelwise", "pixel-wise loss")):
        raw, averaged = means.loc[arm]
        assert f"{name} {raw:.1f} %, averaged weights {averaged:.1f} %" in described(figure)
    curves = figure_data.curves_of(trials)
    stopped = figures.fig6(trials, curves=curves[curves["iteration"] <= 140])
    ticks = stopped.axes[0].get_xticks()
    assert max(ticks) <= 140
    assert all(tick == int(tick) for tick in ticks)


def test_fig6_takes_one_generator_and_names_it() -> None:
    trials = figure_data.ablation(generators=("b_net", "a_net"))
    curves = figure_data.curves_of(trials)
    assert "a_net" in figures.fig6(trials, curves=curves).get_supxlabel()
    assert "b_net" in figures.fig6(trials, curves=curves, generator="b_net").get_supxlabel()
    with pytest.raises(RecordError, match="generator=c_net; there are: a_net, b_net"):
        figures.fig6(trials, curves=curves, generator="c_net")


def test_fig6_without_the_baseline_says_what_it_needs() -> None:
    trials = figure_data.ablation()
    curves = figure_data.curves_of(trials)
    alone = trials[trials["adversarial"] != "none"]
    with pytest.raises(
        RecordError, match=r"Fig\. 6 needs the baseline, but finished trials are of"
    ):
        figures.fig6(alone, curves=curves)


def test_health_draws_each_training_run_once_beside_the_healthy_band() -> None:
    trials = figure_data.ablation()
    twice = pd.concat([trials, trials.assign(run_id=trials["run_id"] + "b", swa_n=10)])
    twice.attrs = trials.attrs
    figure = figures.health(twice, curves=figure_data.curves_of(twice))
    panels: Any = figure.axes
    # Two arms with an adversary, three seeds each: a column per arm.
    assert [[len(each.get_segments()) for each in one.collections] for one in panels] == [
        *([3], [3]),
        *([3, 3], [3, 3]),
    ]
    assert [one.get_title() for one in panels[:2]] == ["standard loss", "pixel-wise loss"]
    for above in panels[:2]:
        (band,) = (p for p in above.patches if p.get_alpha())
        # The base code's 0.2 to 0.5 is of half the sum that is recorded.
        assert (band.get_y(), band.get_y() + band.get_height()) == pytest.approx((0.4, 1.0))
    assert {one.get_ylim() for one in panels[2:]} == {(-0.02, 1.02)}
    assert "D(real) 0.80" in described(figure)
    mixed = trials.assign(loss_disc_weight=range(1, 1 + len(trials)))
    unlike: Any = figures.health(mixed, curves=figure_data.curves_of(mixed)).axes[0]
    assert not unlike.patches
    baseline = trials[trials["adversarial"] == "none"]
    with pytest.raises(RecordError, match="no finished trial has a curve"):
        figures.health(baseline, curves=figure_data.curves_of(trials))


# Masks


def test_voc_colours_are_the_data_sets_own() -> None:
    assert voc_colours().reshape(-1).tolist() == palette()
    assert voc_colours()[[0, 1, 2, 15, 20, 255]].tolist() == [
        [0, 0, 0],
        [128, 0, 0],
        [0, 128, 0],
        [192, 128, 128],
        [0, 64, 128],
        [224, 224, 192],
    ]


def pictures(figure: Figure) -> list[Any]:
    return [np.asarray(axes.images[0].get_array()) for axes in figure.axes if axes.images]


def test_fig5_shows_image_truth_stages_and_average_of_the_proposed_method() -> None:
    trials = figure_data.ablation()
    masks = figure_data.masks_of(trials, images=2, stages=tuple(range(20, 241, 20)))
    figure = figures.fig5(trials, masks=masks, classes=figure_data.CLASSES)
    headings = [axes.get_title() for axes in figure.axes if axes.get_title()]
    stages = ["iteration\n20", "iteration\n100", "iteration\n160", "iteration\n240"]
    assert headings == ["image", "truth", *stages, "averaged"]
    run = trials.loc[(trials["adversarial"] == "pixelwise") & (trials["seed"] == 0), "run_id"]
    samples, shown = masks[run.item()], pictures(figure)
    assert len(shown) == 2 * 7
    for k in range(2):
        names = ["image", "truth", "raw-20", "raw-100", "raw-160", "raw-240", "swa"]
        for name, picture in zip(names, shown[7 * k :], strict=False):
            pixels = samples[f"{name}-{k}"]
            expected = pixels if name == "image" else voc_colours()[pixels]
            np.testing.assert_array_equal(picture, expected)


def test_fig7_pairs_baseline_and_proposed_method_by_the_seed() -> None:
    trials = figure_data.ablation()
    masks = figure_data.masks_of(trials)
    first = {arm: rows["run_id"].iloc[0] for arm, rows in trials.groupby("adversarial")}
    del masks[first["none"]]  # so the pair is of seed 1
    figure = figures.fig7(trials, masks=masks, classes=figure_data.CLASSES)
    assert "seed 1" in figure.get_supxlabel()
    second = {arm: rows["run_id"].iloc[1] for arm, rows in trials.groupby("adversarial")}
    baseline, proposed = pictures(figure)[2:4]
    np.testing.assert_array_equal(baseline, voc_colours()[masks[second["none"]]["raw-240-0"]])
    np.testing.assert_array_equal(proposed, voc_colours()[masks[second["pixelwise"]]["swa-0"]])
    only = {second["pixelwise"]: masks[second["pixelwise"]]}
    with pytest.raises(RecordError, match="of the same seed"):
        figures.fig7(trials, masks=only, classes=figure_data.CLASSES)


def test_the_legend_names_the_classes_that_occur_and_void() -> None:
    trials = figure_data.ablation()
    masks = figure_data.masks_of(trials, images=1)
    figure = figures.fig5(trials, masks=masks, classes=figure_data.CLASSES)
    samples = masks["run6"]
    labels = set(np.unique(samples["truth-0"])) - {255}
    legend = figure.axes[-1].get_legend()
    assert legend is not None
    named = [text.get_text() for text in legend.get_texts()]
    assert named == [*(figure_data.CLASSES[label] for label in sorted(labels)), "void"]


@pytest.mark.parametrize(
    ("lost", "said"), [("swa-0", "lack swa-0"), ("raw", "no stage of training"), ("", "has masks")]
)
def test_masks_that_are_not_whole_are_one_line(lost: str, said: str) -> None:
    trials = figure_data.ablation()
    masks = {
        run: {name: pixels for name, pixels in samples.items() if not name.startswith(lost)}
        for run, samples in figure_data.masks_of(trials, images=1).items()
        if lost
    }
    with pytest.raises(RecordError, match=said):
        figures.fig5(trials, masks=masks, classes=figure_data.CLASSES)


# Searches


def test_search_table_has_the_best_readout_of_each_suggestion() -> None:
    trials = figure_data.joint_search()
    table = figures.search_table(trials)
    assert table["ask"].tolist() == list(range(24))
    assert set(table["state"]) == {"COMPLETE", "PRUNED", "FAIL"}
    assert table.loc[table["state"] != "COMPLETE", "value"].isna().all()
    found = trials[(trials["phase"] == "search") & (trials["ask"] == 3)]
    row = table.loc[3]
    assert row["value"] == found["swa/miou"].max()
    assert row["swa_n"] == found.loc[found["swa/miou"].idxmax(), "swa_n"]
    assert row["readouts"] == 2
    assert table["best"].iloc[-1] == table["value"].max()


def test_history_draws_best_so_far_what_was_stopped_and_fresh_seeds() -> None:
    trials = figure_data.joint_search()
    table = figures.search_table(trials)
    figure = figures.search_history(trials)
    (best,) = heights(figure, 0)
    assert best == pytest.approx((100 * table["best"]).tolist())
    axes: Any = figure.axes[0]
    marks = {line.get_marker(): list(line.get_xdata()) for line in axes.lines}
    assert marks["|"] == table.loc[table["state"] == "PRUNED", "ask"].tolist()
    assert marks["x"] == table.loc[table["state"] == "FAIL", "ask"].tolist()
    fresh = 100 * trials.loc[trials["phase"] == "confirm", "swa/miou"]
    ((_, mean, low, high),) = bars(axes)
    assert mean == pytest.approx(fresh.mean())
    expected = stats.t.interval(0.95, 2, loc=fresh.mean(), scale=stats.sem(fresh))
    assert (low, high) == pytest.approx(expected)


def test_importance_marks_what_stands_above_chance_and_what_does_not() -> None:
    trials = figure_data.joint_search(asks=60, confirmed=0)
    table = figures.importance_table(trials)
    figure = figures.search_importance(trials)
    top: Any = figure.axes[0]
    training = table[table["kind"] == "training"].iloc[::-1]
    widths = [patch.get_width() for patch in top.patches]
    assert widths == pytest.approx(training["share"].tolist())
    is_filled = [patch.get_facecolor()[:3] != (1, 1, 1) for patch in top.patches]
    assert is_filled == (training["verdict"] == "above chance").tolist()
    (limit,) = [line.get_xdata()[0] for line in top.lines]
    assert limit == training["chance"].iloc[0]
    shown = [text.get_text() for text in top.texts]
    assert shown == [p_value(p) for p in training["p"]]
    assert isinstance(figure, DescribedFigure)
    assert figure.shows == describe_importance(table)


def test_importance_of_a_few_suggestions_is_refused() -> None:
    with pytest.raises(RecordError, match="needs 10 completed suggestions, but there are 5"):
        figures.importance_table(figure_data.joint_search(asks=5))


def test_slices_of_thousands_of_readouts_are_pixels_and_those_of_few_are_not() -> None:
    many = figure_data.joint_search(asks=60, siblings=range(1, 26), confirmed=0)
    for trials, kinds in ((many, {True, False}), (figure_data.joint_search(), {False})):
        panels = [axes for axes in figures.search_slices(trials).axes if axes.collections]
        dots = [panel.collections[0] for panel in panels if panel.get_xlabel()]
        assert {bool(one.get_rasterized()) for one in dots} == kinds


def test_slices_and_contour_draw_each_completed_suggestion() -> None:
    trials = figure_data.joint_search()
    done = figures.search_table(trials).dropna(subset="value")
    panels: Any = figures.search_slices(trials).axes
    counts = {
        axes.get_xlabel(): len(axes.collections[0].get_offsets())
        for axes in panels
        if axes.collections and axes.get_xlabel()
    }
    assert counts[r"$\lambda$"] == len(done)
    assert counts[r"$n$"] == 2 * len(done)  # a point per readout
    contour = figures.search_contour(trials)
    dots = contour.axes[0].collections[-1]
    drawn = sorted(map(tuple, np.asarray(dots.get_offsets()).tolist()))
    wanted = done[["lambda_adv", "lr_generator"]].itertuples(index=False, name=None)
    assert drawn == sorted(wanted)
    assert (contour.axes[0].get_xscale(), contour.axes[0].get_yscale()) == ("log", "log")


def test_no_surface_is_drawn_between_few_suggestions_or_over_noise() -> None:
    few = figures.search_contour(figure_data.joint_search(asks=8))
    noise = figure_data.joint_search(asks=40)
    value = np.random.default_rng(0).normal(0.6, 0.02, 1 + int(noise["ask"].max()))
    noise["swa/miou"] = [value[int(ask)] for ask in noise["ask"]]
    flat = figures.search_contour(noise)
    for figure, why in ((few, "it takes 12 training runs"), (flat, "neither setting is above")):
        assert len(figure.axes[0].collections) == 1
        assert f"no surface: {why}" in " ".join(figure.get_supxlabel().split())
        assert isinstance(figure, DescribedFigure)
        assert why in figure.shows
    with pytest.raises(RecordError, match="did not vary momentum; it varied: lambda_adv"):
        figures.search_contour(figure_data.joint_search(asks=8), x="momentum")


def test_a_contour_is_drawn_over_numbers_that_were_varied_whichever_they_are() -> None:
    trials = figure_data.joint_search(asks=8)
    trials["lambda_adv"] = 0.01  # set for all, while others vary
    others = ["momentum", "generator", "generator_width"]
    trials["momentum"] = trials["ask"] / 10
    trials["generator"] = [["deeplabv2", "deeplabv3"][int(ask) % 2] for ask in trials["ask"]]
    trials["generator_width"] = 4 + trials["ask"] % 3
    trials.attrs["axes"] = (*others, "swa_n")
    axes = figures.search_contour(trials).axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("momentum", "generator_width")
    trials.attrs["axes"] = ("generator", "momentum", "swa_n")
    with pytest.raises(RecordError, match="a contour needs two numbers that were varied"):
        figures.search_contour(trials)


def test_axes_name_the_objective_that_a_search_was_for() -> None:
    trials = figure_data.joint_search(asks=8)
    assert figures.search_history(trials).axes[0].get_ylabel() == "validation mIoU [%]"
    trials["swa/miou_per_image"] = 1 - trials["swa/miou"]
    trials.attrs["objectives"] = ("swa/miou_per_image", "val/miou")
    assert figures.search_history(trials).axes[0].get_ylabel() == "swa/miou_per_image [%]"
    assert figures.search_slices(trials).get_supylabel() == "swa/miou_per_image [%]"
    done = figures.search_table(trials).dropna(subset="value")
    row = done.loc[done["value"].idxmax()]
    assert row["value"] == trials.loc[trials["ask"] == row["ask"], "swa/miou_per_image"].max()


def test_a_surface_is_hatched_where_it_is_uncertain_and_told_where_it_is_highest() -> None:
    figure = figures.search_contour(figure_data.joint_search(asks=60))
    assert isinstance(figure, DescribedFigure)
    assert len(figure.axes[0].collections) in (2, 3)  # surface, hatches where they are needed, dots
    found = re.search(r"lambda_adv=(\S+), lr_generator=(\S+), at (\S+) %", figure.shows)
    assert found is not None
    lambda_adv, rate, height = map(float, found.groups())
    assert lambda_adv == pytest.approx(0.01, rel=1)
    assert rate == pytest.approx(0.02, rel=0.5)
    assert height == pytest.approx(64.9, abs=0.4)
    trials = figure_data.joint_search(asks=18)
    shift = np.random.default_rng(3).normal(0, 0.02, 18)
    trials["swa/miou"] += [shift[int(ask)] for ask in trials["ask"]]
    unsure: Any = figures.search_contour(trials)
    assert len(unsure.axes[0].collections) == 3
    assert re.search(r"[1-9]\d % of its area is too uncertain", unsure.shows)


def test_means_of_hundreds_of_settings_do_not_hide_each_other() -> None:
    sizes: list[set[float]] = []
    for count in (7, 150):
        lambdas = np.geomspace(1e-4, 1, count).tolist()
        panels: Any = figures.fig4(figure_data.lambda_grid(lambdas=lambdas), PAPER).axes[:2]
        bars = [each for panel in panels for each in panel.containers]
        sizes.append({each.lines[0].get_markersize() for each in bars})
    (few,), (many,) = sizes
    assert many < few / 2


def test_a_rate_is_on_a_logarithmic_axis_and_its_labels_stand_at_their_numbers() -> None:
    trials = figure_data.joint_search()
    trials["lr_generator"] = 0.005 + 0.075 * (trials["ask"] + 1) / (trials["ask"].max() + 1)
    panels: Any = figures.search_slices(trials).axes
    (axes,) = [panel for panel in panels if panel.get_xlabel() == "lr (gen.)"]
    assert axes.get_xscale() == "log"
    labels = [(tick.get_loc(), tick.label1.get_text()) for tick in axes.xaxis.get_major_ticks()]
    assert len(labels) > 1
    assert all(float(text) == pytest.approx(place) for place, text in labels)


def test_every_line_through_the_settings_has_a_contrast_of_three_to_white() -> None:
    lines: Any
    (lines,) = figures.search_parallel(figure_data.joint_search()).axes[0].collections
    for red, green, blue in np.asarray(lines.get_cmap()(np.linspace(0, 1, 20)))[:, :3]:
        linear = [
            c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (red, green, blue)
        ]
        luminance = np.dot((0.2126, 0.7152, 0.0722), linear)
        assert 1.05 / (luminance + 0.05) >= 3


@pytest.mark.parametrize(
    "name", ["search_history", "search_slices", "search_contour", "search_parallel"]
)
def test_figures_of_a_search_say_what_they_show_in_thirty_words(name: str) -> None:
    figure = getattr(figures, name)(figure_data.joint_search())
    assert isinstance(figure, DescribedFigure)
    assert 8 <= len(figure.shows.split()) <= 30
    assert "64.8 %" in figure.shows  # the best of all, or the surface's highest point


def test_parallel_coordinates_run_through_every_setting_to_the_value() -> None:
    trials = figure_data.joint_search()
    done = figures.search_table(trials).dropna(subset="value")
    figure = figures.search_parallel(trials)
    lines: Any
    (lines,) = figure.axes[0].collections
    segments = np.array(lines.get_segments())
    assert segments.shape == (len(done), 6, 2)
    assert (segments[:, :, 1].min(), segments[:, :, 1].max()) == (0, 1)
    assert sorted(segments[:, -1, 1]) == pytest.approx(
        sorted((done["value"] - done["value"].min()) / np.ptp(done["value"]))
    )


def test_a_sweep_that_is_no_search_is_refused() -> None:
    with pytest.raises(RecordError, match="is no search"):
        figures.search_history(figure_data.lambda_grid())


@pytest.mark.parametrize(
    ("name", "along", "held"),
    [("swa_threshold", "swa_threshold", "swa_n"), ("swa_n", "swa_n", "swa_threshold")],
)
def test_what_was_tried_at_few_places_is_not_held_for_its_luck(
    name: str, along: str, held: str
) -> None:
    trials = figure_data.swa_grid(rules=("uniform",))
    whole = getattr(figures, name)(trials, PAPER).axes[0]
    worst = figures.swa_table(trials).groupby(held)["mean"].mean().idxmin()
    first = trials[along].min()
    lucky = trials.index[(trials[held] == worst) & (trials[along] == first)]
    others = trials.index[(trials[held] == worst) & (trials[along] != first)]
    trials.loc[lucky, "swa/miou"] = 0.99
    trials.loc[others, "status"] = "FAILED"
    axes = getattr(figures, name)(trials, PAPER).axes[0]
    told = [text.get_text() for text in axes.get_legend().get_texts()]
    assert told == [text.get_text() for text in whole.get_legend().get_texts()]
    trials.attrs["axes"] = (along, held)
    assert figures.axis_table(trials, along).attrs["held"][held] != worst


# Any setting


def test_other_settings_are_held_where_the_mean_is_highest() -> None:
    trials = figure_data.swa_grid(rules=("uniform",))
    trials.attrs["axes"] = ("swa_n", "swa_threshold")
    table = figures.axis_table(trials, "swa_n")
    best = trials.groupby("swa_threshold")["swa/miou"].mean().idxmax()
    assert table.attrs["held"] == {"swa_threshold": best}
    figure = figures.metric_vs_axis(trials, "swa_n")
    assert_drawn(figure.axes[0], table)
    assert f"$th_\\mathrm{{swa}}$ = {best:g}" in figure.get_supxlabel()


def test_names_have_places_of_their_own() -> None:
    trials = figure_data.ablation(generators=("a_net", "b_net"))
    trials = trials[trials["adversarial"] == "none"]
    figure = figures.metric_vs_axis(trials, "generator")
    assert [label.get_text() for label in figure.axes[1].get_xticklabels()] == ["a net", "b net"]
    assert_drawn(figure.axes[0], figures.axis_table(trials, "generator"))
    with pytest.raises(RecordError, match="no trial has the setting gnerator; varied: generator"):
        figures.metric_vs_axis(trials, "gnerator")


def settings_of(trials: pd.DataFrame, metric: str = "swa/miou") -> dict[float, dict[int, float]]:
    """Return mIoU by lambda and seed."""
    return {
        float(value): dict(zip(rows["seed"].tolist(), rows[metric].tolist(), strict=True))
        for value, rows in trials.groupby("lambda_adv")
    }


def test_fig4_draws_each_seed_and_the_differences_from_lambda_zero_with_their_verdicts() -> None:
    trials = figure_data.lambda_grid()
    upper, lower = figures.fig4(trials, PAPER).axes
    assert_drawn(upper, figures.fig4_table(trials))
    for metric, series in (("val/miou", SERIES["raw"]), ("swa/miou", SERIES["swa"])):
        faint: Any = [line for line in upper.lines if line.get_color() == muted(series.color)]
        dots = sorted(float(y) for line in faint for y in line.get_ydata())
        assert dots == pytest.approx(sorted(100 * trials[metric]))
        wanted = against(0.0, settings_of(trials, metric)).values()
        containers: Any = lower.containers
        drawn = [c for c in containers if c.lines[0].get_color() == series.color]
        filled = [c.lines[0].get_markerfacecolor() != "white" for c in drawn]
        assert filled == [found.distinguishable for found in wanted]
        ends = [tuple(c.lines[2][0].get_segments()[0][:, 1]) for c in drawn]
        expected = [(100 * found.low, 100 * found.high) for found in wanted]
        np.testing.assert_allclose(ends, expected)
    assert True in filled
    assert False in filled


def test_differences_and_marks_of_a_race_have_its_levels() -> None:
    trials = figure_data.lambda_grid()
    trials.attrs |= {"race_first": 2, "race_limit": 10}
    upper, lower = figures.fig4(trials, PAPER).axes
    race, settings = Race(first=2, limit=10), settings_of(trials)
    containers: Any = lower.containers
    drawn = [c for c in containers if c.lines[0].get_color() == SERIES["swa"].color]
    ends = [tuple(c.lines[2][0].get_segments()[0][:, 1]) for c in drawn]
    wanted = against(0.0, settings, race=race).values()
    np.testing.assert_allclose(ends, [(100 * found.low, 100 * found.high) for found in wanted])
    marks: Any = [line for line in upper.lines if line.get_marker() == "^"]
    raced, once = rank(settings, race=race), rank(settings)
    assert raced is not None
    assert once is not None
    assert len(marks[0].get_xdata()) == len(raced.contenders) > len(once.contenders)


def test_the_values_that_may_be_best_are_marked_on_the_axis() -> None:
    trials = figure_data.lambda_grid(lambdas=(0.0, 0.01, 0.1, 1.0), seeds=8)
    trials.loc[trials["lambda_adv"] == 1.0, "swa/miou"] -= 0.2
    figure = figures.fig4(trials, PAPER)
    marks: Any = [line for line in figure.axes[0].lines if line.get_marker() == "^"]
    ranking = rank(settings_of(trials))
    assert ranking is not None
    alike = [v for v in (0.0, 0.01, 0.1) if ranking.against_best(v) != "lower"]
    axis = LambdaAxis.over([0.0, 0.01, 0.1, 1.0])
    assert sorted(marks[0].get_xdata()) == [axis.place(value) for value in alike]


def test_a_collapsed_run_is_named_and_does_not_press_the_others_flat() -> None:
    trials = figure_data.lambda_grid()
    whole = figures.fig4(trials, PAPER)
    trials.loc[4, ["val/miou", "swa/miou"]] = 0.02
    figure = figures.fig4(trials, PAPER)
    for panel, before in zip(figure.axes, whole.axes, strict=True):
        low, high = panel.get_ylim()
        was_low, was_high = before.get_ylim()
        assert high - low < 1.5 * (was_high - was_low)
    assert "arrows: 2 runs below the axis" in figure.get_supxlabel().replace("\n", " ")
    arrows: Any = [line for line in figure.axes[0].lines if line.get_marker() == "v"]
    assert sum(len(line.get_xdata()) for line in arrows) == 2
    assert "arrows" not in whole.get_supxlabel()


def test_bars_of_means_end_at_0_and_100_percent() -> None:
    trials = figure_data.lambda_grid(lambdas=(0.0, 0.01), seeds=2)
    trials["swa/miou"] = [0.98, 0.999, 0.97, 0.999]
    trials["val/miou"] = [0.001, 0.02, 0.002, 0.03]
    ends = [end for bar in bars(figures.fig4(trials, PAPER).axes[0]) for end in bar[2:]]
    assert min(ends) == 0
    assert max(ends) == 100


@pytest.mark.parametrize("name", ["swa_n", "swa_threshold"])
def test_one_wide_bar_does_not_press_the_others_flat(name: str) -> None:
    trials = figure_data.swa_grid(rules=("uniform",), ns=(1, 2, 5), thresholds=(0.0, 0.3, 0.6))
    wide = (trials["swa_n"] == 2) & (trials["swa_threshold"] == 0.3) & (trials["seed"] == 0)
    trials.loc[wide, "swa/miou"] += 0.2
    upper, lower = getattr(figures, name)(trials, PAPER).axes
    assert max(high - low for _, _, low, high in bars(lower)) > 80  # as wide as it is
    for panel in (upper, lower):
        assert np.ptp(panel.get_ylim()) < 30


@pytest.mark.parametrize(
    ("labels", "kept"),
    [
        (["0.0012", "0.001", "0.0013"], ["0.001"]),  # the rounder one stays
        (["<1 %", "39 %", "40 %"], ["<1 %", "40 %"]),
        (["alpha_net", "beta_net", "gamma_net"], ["alpha_net", "beta_net", "gamma_net"]),
    ],
)
def test_numbers_that_overlap_are_dropped_and_names_never(
    labels: list[str], kept: list[str]
) -> None:
    figure = Figure(figsize=(1, 1))
    axes = figure.subplots()
    axes.set_xticks([0, 1, 2], labels)
    figure.draw_without_rendering()
    thin_labels(figure)
    assert [label.get_text() for label in axes.get_xticklabels()] == kept


def test_limits_show_all_values_and_most_bars_whole() -> None:
    low, high = in_sight([1.0, 2.0], [(0.5, 1.5), (1.5, 2.5), (-100, 104)])
    assert (low, high) == pytest.approx((-0.18, 3.18))
    assert in_sight([3.0], [(math.nan, math.nan)]) == pytest.approx((2.985, 3.015))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({}, "63.4 % at λ = 0, best 63.6 % at λ = 0.002, 58.6 % at λ = 1; "),
        ({"lambdas": (0.01,)}, "Mean mIoU with SWA: 63.3 % at λ = 0.01."),
        ({"seeds": 1}, "no other is distinguishable from the best."),
        (
            {"lambdas": (0.0, 0.1)},
            "best 63.4 % at λ = 0, 62.7 % at λ = 0.1; the other is distinguish",
        ),
    ],
)
def test_fig4_tells_what_it_shows(changed: dict[str, Any], said: str) -> None:
    figure = figures.fig4(figure_data.lambda_grid(**changed), PAPER)
    assert isinstance(figure, DescribedFigure)
    shows = figure.shows.replace(r"$\lambda$", "λ")
    assert said in shows
    assert len(shows.split()) <= 30


def test_what_a_figure_shows_holds_for_ties_and_missing_numbers() -> None:
    trials = figure_data.lambda_grid(lambdas=(0.0, 0.1, 1.0))
    trials["swa/miou"] = 0.6
    trials.loc[trials["lambda_adv"] == 1.0, "swa/miou"] = math.nan
    figure = figures.fig4(trials, PAPER)
    assert isinstance(figure, DescribedFigure)
    assert (
        "best 60.0 % at $\\lambda$ = 0, 60.0 % at $\\lambda$ = 0.1; the other is not"
        in figure.shows
    )
    trials["swa/miou"] = math.nan
    raw = figures.fig4(trials, PAPER)
    assert isinstance(raw, DescribedFigure)
    assert raw.shows.startswith("Mean mIoU without SWA: ")


@pytest.mark.parametrize(
    ("name", "values", "logarithmic"),
    [
        ("lr_generator", [1e-4, 1e-2], True),
        ("lr_generator", [1e-3, 1e-2], True),  # a rate matters by its magnitude
        ("lr_generator", [1e-3, 2e-3], False),
        ("loss_disc_weight", [1e-3, 1e-2], False),
        ("lambda_adv", [0.0, 1.0], False),
        ("swa_threshold", [0.001, 0.9], False),
    ],
)
def test_an_axis_is_logarithmic_over_decades_but_for_shares(
    name: str, values: Sequence[float], logarithmic: bool
) -> None:
    assert is_logarithmic(name, values) == logarithmic


def test_what_was_varied_is_the_sweeps_axes_or_what_differs() -> None:
    trials = figure_data.swa_grid(ns=(5, 10), thresholds=(0.0,))
    assert set(varying(trials)) == {"swa_rule", "swa_n"}
    trials.attrs["axes"] = ("swa_n", "swa_threshold")
    assert varying(trials) == ["swa_n"]


def test_figures_leave_the_users_settings_alone() -> None:
    before = dict(matplotlib.rcParams)
    figures.fig4(figure_data.lambda_grid(), PAPER)
    assert dict(matplotlib.rcParams) == before
