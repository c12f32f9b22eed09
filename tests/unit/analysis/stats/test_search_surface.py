"""The surface through noisy values: beside a reference, and an error that covers the truth."""

import numpy as np
import pytest
from numpy.typing import NDArray

from analysis.stats.search import fit_scales, fit_surface


def truth(at: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(60 - 40 * (at[:, 0] - 0.4) ** 2 - 20 * (at[:, 1] - 0.6) ** 2)


def test_it_is_the_gaussian_process_of_a_reference() -> None:
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, WhiteKernel

    random = np.random.default_rng(0)
    points, at = random.random((25, 2)), random.random((10, 2))
    values = truth(points) + random.normal(0, 1, 25)
    found = fit_surface(points, values, at)
    logs = fit_scales(points, (values - values.mean()) / values.std())
    kernel = np.exp(2 * logs[2]) * RBF(np.exp(logs[:2])) + WhiteKernel(np.exp(2 * logs[3]) + 1e-8)
    reference = GaussianProcessRegressor(kernel, optimizer=None, alpha=0)
    reference.fit(points, (values - values.mean()) / values.std())
    mean, deviation = reference.predict(at, return_std=True)
    assert found.height == pytest.approx(values.mean() + values.std() * mean)
    without_noise = deviation**2 - np.exp(2 * logs[3]) - 1e-8
    assert found.error == pytest.approx(values.std() * np.sqrt(without_noise), rel=1e-4)


def test_two_standard_errors_hold_the_truth_nearly_always() -> None:
    held = []
    for seed in range(12):
        random = np.random.default_rng(seed)
        points, at = random.random((30, 2)), random.random((50, 2))
        found = fit_surface(points, truth(points) + random.normal(0, 1.5, 30), at)
        held.append(np.abs(found.height - truth(at)) <= 2 * found.error)
    assert np.mean(held) > 0.8  # scales that are fitted make it less than 0.95


def test_the_error_grows_away_from_the_points() -> None:
    random = np.random.default_rng(1)
    points = random.random((30, 2)) * (0.5, 1)
    at = np.array([[0.25, 0.5], [1.0, 0.5]])
    near, far = fit_surface(points, truth(points) + random.normal(0, 1, 30), at).error
    assert far > 2 * near
