"""How far from the truth a rate may be: intervals of proportions, and of rates whose errors come in clusters."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

import numpy as np


def wilson_interval(correct: int, total: int, confidence: float = 0.95) -> tuple[float, float]:
    """The score interval of a proportion: where the true rate lies, ``confidence`` of the time.

    Unlike p ± 1.96 s it stays inside [0, 1] and holds at 100 % and for few clips. It assumes independent clips. Many
    clips of few speakers are not independent, so for those look at the speakers too.

    Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference", Journal of the
    American Statistical Association 22 (158), 1927, pp. 209-212.

    Args:
        correct: how many succeeded, 0 to ``total``.
        total: how many were tried; 0 gives (0, 1), for nothing is known.
        confidence: share of the intervals that hold the true rate, inside (0, 1).

    Returns:
        The lower and the upper end, as fractions.
    """
    assert 0 <= correct <= total
    assert 0 < confidence < 1
    if total == 0:
        return 0.0, 1.0
    z = statistics.NormalDist().inv_cdf((1 + confidence) / 2)
    rate = correct / total
    middle = rate + z * z / (2 * total)
    half = z * math.sqrt(rate * (1 - rate) / total + z * z / (4 * total * total))
    scale = 1 + z * z / total
    # At 0 and 100 % the formula is exact, its rounding is not.
    low = 0.0 if correct == 0 else (middle - half) / scale
    high = 1.0 if correct == total else (middle + half) / scale
    return low, high


def binomial_interval(count: int, total: int, confidence: float = 0.95) -> tuple[float, float]:
    """The exact interval of a proportion, never shorter than it should be: where the true rate lies.

    Where none or all of ``total`` are counted, the interval is one-sided.

    Source: C. Clopper and E. Pearson, "The use of confidence or fiducial limits illustrated in the case of the
    binomial", Biometrika 26 (4), 1934, pp. 404-413.

    Args:
        count: how many, 0 to ``total``.
        total: out of how many; 0 gives (0, 1), because nothing is known.
        confidence: at least this share of the intervals contain the true rate, inside (0, 1).
    """
    from scipy.stats import beta

    assert 0 <= count <= total
    if total == 0:
        return 0.0, 1.0
    tail = (1 - confidence) / (1 if count in (0, total) else 2)
    low = 0.0 if count == 0 else float(beta.ppf(tail, count, total - count + 1))
    high = 1.0 if count == total else float(beta.ppf(1 - tail, count + 1, total - count))
    return low, high


def poisson_interval(count: int, exposure: float, confidence: float = 0.95) -> tuple[float, float]:
    """The exact interval of a rate of events that come independently: where the true rate lies.

    Without any event the interval is an upper bound only: no alarm in 3 hours bounds the rate under 1 an hour (95 %).

    Source: F. Garwood, "Fiducial limits for the Poisson distribution", Biometrika 28 (3/4), 1936, pp. 437-442.

    Args:
        count: events, at least 0.
        exposure: the time (or other unit of the rate) in which they occurred, above 0.
        confidence: at least this share of the intervals contain the true rate, inside (0, 1).
    """
    from scipy.stats import chi2

    assert count >= 0
    assert exposure > 0
    tail = (1 - confidence) / (2 if count else 1)
    low = float(chi2.ppf(tail, 2 * count)) / 2 if count else 0.0
    return low / exposure, float(chi2.ppf(1 - tail, 2 * count + 2)) / 2 / exposure


def mean_interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float]:
    """The interval of the true mean of some values, such as the accuracies of the folds of a cross-validation.

    The interval of Student's t; the values are assumed to be independent and normal. Folds that share training data are
    not quite independent.

    Source: Student, "The probable error of a mean", Biometrika 6 (1), 1908, pp. 1-25.

    Args:
        values: at least two.
        confidence: share of the intervals that hold the true mean, inside (0, 1).
    """
    from scipy.stats import t

    half = float(t.ppf((1 + confidence) / 2, len(values) - 1)) * statistics.stdev(values) / math.sqrt(len(values))
    mean = statistics.fmean(values)
    return mean - half, mean + half


def bootstrap_interval(
    errors: Sequence[int],
    words: Sequence[int],
    *,
    confidence: float = 0.95,
    draws: int = 10_000,
    seed: int = 0,
) -> tuple[float, float]:
    """Where the error rate lies if the parts (utterances, or speakers) were drawn anew from the same population.

    Each draw takes as many parts as there are, with replacement; the rate is all errors over all words. A draw without
    any words is left out. Errors cluster in utterances and speakers, so a formula for independent words would give too
    narrow an interval.

    Source: M. Bisani and H. Ney, "Bootstrap estimates for confidence intervals in ASR performance evaluation", ICASSP
    2004, section 3 (percentiles).

    Args:
        errors: of each part.
        words: of each part; at least one in all.
        confidence: share of the draws inside the interval, in (0, 1).
        draws: how many draws.
        seed: of the generator; the same one gives the same interval.

    Returns:
        The lower and the upper end.
    """
    counts = np.array([errors, words], dtype=np.int64)
    parts = counts.shape[1]
    assert counts[1].sum() > 0
    random = np.random.default_rng(seed)
    rates = []
    block = max(1, 1_000_000 // parts)  # bounds the memory
    for start in range(0, draws, block):
        chosen = random.integers(parts, size=(min(block, draws - start), parts))
        wrong, said = counts[0][chosen].sum(1), counts[1][chosen].sum(1)
        rates.append(wrong[said > 0] / said[said > 0])
    low, high = np.quantile(np.concatenate(rates), [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)
