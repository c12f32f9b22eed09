"""Settings x seeds as what they are, a randomised block design: effects and their errors.

A seed shifts all settings alike (initialisation, batches, crops), so that it is a block. Where some
runs are missing, least squares takes what there is: a setting counts with all its seeds, each less
what that seed gives to the settings beside it.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

Setting = TypeVar("Setting", bound=Hashable)
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

# From which p-value down a variance is no longer taken for the common one, with many degrees of
# freedom and with one, and how steeply: see `moderate`. Chosen for the least loss of power with a
# family error near 5 % where one setting is six times noisier than the others: with three seeds it
# is 6 to 7 %. `python -m analysis.benchmark statistics` prints both.
COMMON_FROM, COMMON_FROM_FEW, STEEPNESS = 0.3, 2.0, 4.0
OUTLIER = 0.05  # level at which a setting's variance leaves the common one, over all settings
SINGULAR = 1e-9  # size of a direction, as a share of the largest, below which it is none
RESOLUTION = 1e-9  # of an mIoU: what differs by less is float noise and no effect


@dataclass(frozen=True, kw_only=True)
class Variances:
    """Residual variances of a design, each setting's shrunk towards the common one.

    Attributes:
        moderated: Of each setting, [S]; of one value's deviation from setting and seed.
        freedom: Degrees of freedom of each, [S].
        common: The pooled variance, without settings that stand out.
        common_freedom: Its degrees of freedom.
    """

    moderated: Floats
    freedom: Floats
    common: float
    common_freedom: float


@dataclass(frozen=True, kw_only=True)
class Blocks(Generic[Setting]):
    """A fitted design.

    Attributes:
        settings: Keys of the settings that have a finite value, [S].
        seeds: The seeds at which one of them has, [n].
        values: [S, n], NaN where a run is missing.
        effects: Mean of each setting at all seeds, as the additive model has it, [S].
        paired: Whether seeds are blocks; False where too few are shared to connect the settings.
        variances: None where no setting has a second seed.
    """

    settings: Sequence[Setting]
    seeds: Sequence[int]
    values: Floats
    effects: Floats
    paired: bool
    variances: Variances | None

    @property
    def most_seeds(self) -> int:
        """How many values the setting with most has."""
        return int(np.isfinite(self.values).sum(1).max())

    def index(self, setting: Setting) -> int:
        """Return the row of a setting."""
        return self.settings.index(setting)

    def errors(self, reference: int) -> tuple[Floats, Floats]:
        """Return standard error and degrees of freedom of each setting less the reference.

        Args:
            reference: Row of that setting, whose own entries mean nothing.

        Returns:
            Two arrays [S]; NaN where no setting has a second seed.
        """
        if self.variances is None:
            unknown = np.full(len(self.settings), np.nan)
            return unknown, unknown
        here = np.isfinite(self.values)
        found = self.variances
        own = found.moderated / here.sum(1)
        parts = [own, np.full_like(own, own[reference])]
        freedoms = [found.freedom, np.full_like(own, found.freedom[reference])]
        if self.paired:
            # What the blocks' own errors add where the two settings have not the same seeds.
            shares = here / here.sum(1, keepdims=True)
            lacking = shares - shares[reference]
            inverse, _ = _pseudo_inverse(_information(here))
            middle = _information(here, found.moderated)
            parts.append(np.einsum("sr,rt,st->s", lacking, inverse @ middle @ inverse, lacking))
            freedoms.append(np.full_like(own, found.common_freedom))
        variance = np.sum(parts, axis=0)
        # Source: Satterthwaite's approximation, never above what the pooled variance has.
        spread = sum(part**2 / freedom for part, freedom in zip(parts, freedoms, strict=True))
        with np.errstate(invalid="ignore", divide="ignore"):
            freedom = np.where(variance > 0, variance**2 / spread, found.common_freedom)
        most = max(found.common_freedom, float(found.freedom.min()))
        return np.sqrt(np.maximum(variance, RESOLUTION**2)), np.minimum(freedom, most)


def fit_blocks(
    settings: Mapping[Setting, Mapping[int, float]], *, paired: bool = True
) -> Blocks[Setting]:
    """Fit the additive model, value = setting + seed + error, to what finite values there are.

    Where the settings share too few seeds to be connected, or to leave an error, seeds are no
    blocks.

    Args:
        settings: Values by seed of each setting, as fractions; those not finite count as missing.
        paired: Whether seeds are blocks where they can be.

    Raises:
        ValueError: No value is finite.
    """
    known = {key: finite(by_seed) for key, by_seed in settings.items()}
    keys = [key for key, by_seed in known.items() if by_seed]
    if not keys:
        raise ValueError("a design needs a finite value")
    seeds = sorted({seed for by_seed in known.values() for seed in by_seed})
    column = {seed: at for at, seed in enumerate(seeds)}
    values = np.full((len(keys), len(seeds)), np.nan)
    for row, key in enumerate(keys):
        values[row, [column[seed] for seed in known[key]]] = [*known[key].values()]
    here = np.isfinite(values)
    paired = paired and _is_connected(here)
    variances = _variances(values, here, paired=paired)
    if paired and variances is None:  # no error is left, but there may be one without blocks
        variances = _variances(values, here, paired=False)
        paired = variances is None or bool(np.isnan(variances.freedom).any())
        variances = None if paired else variances
    return Blocks(
        settings=keys,
        seeds=seeds,
        values=values,
        effects=_effects(values, here, paired=paired),
        paired=paired,
        variances=variances,
    )


def finite(values: Mapping[int, float]) -> dict[int, float]:
    """Return the values that are finite, by seed."""
    return {seed: value for seed, value in values.items() if math.isfinite(value)}


def moderate(own: Floats, freedom: Floats, rest: Floats, rest_freedom: Floats) -> Floats:
    """Return how many degrees of freedom of the common variance each own variance may borrow.

    With p the chance of a ratio as large as own to common, were they equal, it borrows the share
    min(1, p / q)^4 of them, q = 0.3 + 2 / rest_freedom: all where it is no larger than the common
    one is likely to be, next to none where it stands out, so that a noisy setting neither hides nor
    invents an effect. Where the variances scatter more than chance would have them, there are fewer
    to borrow.

    Args:
        own: Variance of each setting, with its `freedom`; one without any borrows all.
        freedom: Its degrees of freedom.
        rest: The pooled variance of the others.
        rest_freedom: Its degrees of freedom.

    Source: after G. K. Smyth, "Linear models and empirical Bayes methods", 2004, with a prior that
    lets go of those it does not fit, as in B. Phipson et al., "Robust hyperparameter estimation
    protects against hypervariable genes", 2016.
    """
    common_from = COMMON_FROM + COMMON_FROM_FEW / np.maximum(rest_freedom, 1)
    share = np.clip(_chance(own, freedom, rest, rest_freedom) / common_from, 0, 1) ** STEEPNESS
    prior = np.minimum(rest_freedom, _prior_freedom(own, freedom))
    return np.where(freedom > 0, share * prior, rest_freedom)


def _prior_freedom(own: Floats, freedom: Floats) -> float:
    """Return how many degrees of freedom the common variance is worth: fewer the more they differ.

    The logarithms of equal variances scatter by trigamma(freedom / 2). What they scatter more is
    theirs, as far as it exceeds one standard error of the estimate.
    """
    from scipy.special import digamma, polygamma

    known = (freedom > 0) & (own > RESOLUTION**2)
    if known.sum() < 3:
        return math.inf
    half = freedom[known] / 2
    logs = np.log(own[known]) - digamma(half) + np.log(half)
    by_chance = polygamma(1, half)
    # The variance of a sample variance, from the fourth cumulant of a log chi-squared number.
    doubt = math.sqrt((polygamma(3, half) + 2 * by_chance**2).mean() / known.sum())
    excess = float(logs.var(ddof=1) - by_chance.mean()) - doubt
    if excess <= 0:
        return math.inf
    sizes = np.geomspace(0.05, 500, 400)
    return float(2 * np.interp(-excess, -polygamma(1, sizes), sizes))


def _chance(own: Floats, freedom: Floats, rest: Floats, rest_freedom: Floats) -> Floats:
    """Return the upper tail of the F distribution; 1 where there is nothing to compare."""
    from scipy.special import fdtrc

    known = (freedom > 0) & (rest_freedom > 0)
    ratio = own / np.maximum(rest, RESOLUTION**2)
    p = fdtrc(np.where(known, freedom, 1), np.where(known, rest_freedom, 1), ratio)
    return np.where(known, p, 1.0)


def _is_connected(here: Flags) -> bool:
    """Return whether every setting can be reached from the first over seeds that two share."""
    reached = here[:1].any(0)
    for _ in range(len(here)):
        grown = here[(here & reached).any(1)].any(0)
        if (grown == reached).all():
            break
        reached = grown
    return bool((here & reached).any(1).all())


def _information(here: Flags, weights: Floats | None = None) -> Floats:
    """Return the matrix of the blocks' normal equations, [n, n], each setting with its weight."""
    at = here.astype(float)
    weight = np.ones(len(at)) if weights is None else weights
    counts = at.sum(1)
    found: Floats = np.diag(weight @ at) - np.einsum("s,sr,st->rt", weight / counts, at, at)
    return found


def _effects(values: Floats, here: Flags, *, paired: bool) -> Floats:
    filled, counts = np.where(here, values, 0.0), here.sum(1)
    means: Floats = filled.sum(1) / counts
    if not paired or here.all():
        return means
    inner = np.where(here, values - means[:, None], 0.0)
    inverse, _ = _pseudo_inverse(_information(here))
    blocks = inverse @ inner.sum(0)
    effects: Floats = means - (here @ blocks) / counts + blocks.mean()
    return effects


def _variances(values: Floats, here: Flags, *, paired: bool) -> Variances | None:
    """Return the settings' variances round the model, each moderated; None without any scatter."""
    counts = here.sum(1)
    means = np.where(here, values, 0.0).sum(1) / counts
    inner = np.where(here, values - means[:, None], 0.0)
    at = here.astype(float)
    # What each setting adds to the sum of squares, to the normal equations and their right side.
    squares = (inner**2).sum(1)
    outer = at[:, :, None] * at[:, None, :]
    matrices = outer * np.eye(at.shape[1]) - outer / counts[:, None, None]
    kept = np.ones(len(at), dtype=bool)
    while True:
        numbers = int((counts[kept] - 1).sum())
        whole = squares[kept].sum(), matrices[kept].sum(0), inner[kept].sum(0)
        sign = np.where(kept, -1.0, 1.0)  # each is left out; one that is out already is put back
        all_of_them, all_freedom = _residual(*whole, np.array(numbers), paired=paired)
        changed, changed_freedom = _residual(
            whole[0] + sign * squares,
            whole[1] + sign[:, None, None] * matrices,
            whole[2] + sign[:, None] * inner,
            numbers + sign * (counts - 1),
            paired=paired,
        )
        freedom = np.abs(all_freedom - changed_freedom)
        own = np.abs(all_of_them - changed) / np.maximum(freedom, 1)
        rest_freedom = np.where(kept, changed_freedom, all_freedom)
        rest = np.where(kept, changed, all_of_them) / np.maximum(rest_freedom, 1)
        p = _chance(own, freedom, rest, rest_freedom)
        worst = int(np.where(kept, p, np.inf).argmin())
        many = int(kept.sum())
        if many <= max(3, len(at) // 2) or p[worst] * many >= OUTLIER:
            break
        kept[worst] = False
    if all_freedom < 1:
        return None
    pooled = float(all_of_them / all_freedom)
    if paired and len(at) == 2:  # their difference has a variance, the two alone have none
        own, freedom = np.full(2, pooled), np.zeros(2)
        rest, rest_freedom = own, np.full(2, float(all_freedom))
    borrowed = moderate(own, freedom, rest, rest_freedom)
    if not paired and len(at) == 2:  # Welch's test
        borrowed = np.zeros(2)
    total = borrowed + freedom
    with np.errstate(invalid="ignore"):
        mixed = (borrowed * rest + freedom * own) / total
    return Variances(
        moderated=mixed,
        freedom=np.where(total > 0, total, math.nan),
        common=pooled,
        common_freedom=float(all_freedom),
    )


def _residual(
    squares: Floats, matrix: Floats, right: Floats, numbers: Floats, *, paired: bool
) -> tuple[Floats, Floats]:
    """Return residual sums of squares and their degrees of freedom, over leading axes alike."""
    if not paired:
        return squares, np.asarray(numbers, dtype=float)
    inverse, rank = _pseudo_inverse(matrix)
    explained = np.einsum("...r,...rt,...t->...", right, inverse, right)
    return np.maximum(squares - explained, 0.0), numbers - rank


def _pseudo_inverse(matrix: Floats) -> tuple[Floats, Floats]:
    """Return inverse and rank of symmetric matrices, [..., n, n]; a null direction stays null."""
    sizes, axes = np.linalg.eigh(matrix)
    most = np.maximum(np.abs(sizes).max(-1, keepdims=True), 1.0)
    real = sizes > SINGULAR * most
    scaled = np.where(real, 1 / np.where(real, sizes, 1.0), 0.0)
    return (axes * scaled[..., None, :]) @ axes.swapaxes(-1, -2), real.sum(-1).astype(float)
