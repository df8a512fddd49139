import math

import numpy as np
import pytest
import scipy.optimize
import scipy.special
import scipy.stats
import sklearn.linear_model
from hypothesis import given, settings
from hypothesis import strategies as st

from speechgru.decoding.calibration import SUREST, Calibration
from speechgru.errors import ConfigError, DataError, ModelError
from speechgru.evaluation.calibration import calibration_error, calibration_noise, normalized_cross_entropy, reliability
from speechgru.model_folder import read_config
from speechgru.plain_yaml import from_yaml, to_yaml
from speechgru.registry import to_plain
from speechgru.shipped import models_dir


def overconfident(words=20_000, seed=0, scale=0.4, offset=-0.7):
    """Confidences near 1, as CTC gives them, of words that are right as often as a line through their logits says."""
    random = np.random.default_rng(seed)
    logits = random.normal(4, 3, words)
    correct = random.random(words) < scipy.special.expit(scale * logits + offset)
    return scipy.special.expit(logits), correct


def test_error_by_brute_force():
    """Oracle: equation 3 of Guo et al. 2017, bin by bin ((m-1)/M, m/M], and by sorting into equal parts."""
    sure, right = overconfident(1500)
    wide = mass = 0.0
    for number in range(15):
        inside = (sure > number / 15) & (sure <= (number + 1) / 15)
        if inside.any():
            wide += inside.mean() * abs(right[inside].mean() - sure[inside].mean())
        part = np.argsort(sure)[number * 100 : (number + 1) * 100]
        mass += abs(right[part].mean() - sure[part].mean()) / 15
    assert calibration_error(sure, right) == pytest.approx(wide)
    assert calibration_error(sure, right, equal_mass=True) == pytest.approx(mass)
    assert wide > 0.05


def test_bins_by_hand():
    """Oracle: six words worked out; 1/2 belongs to the lower bin of two, 0 to the first."""
    sure, right = [0.0, 0.4, 0.5, 0.75, 0.75, 1.0], [0, 0, 1, 1, 0, 1]
    low, high = reliability(sure, right, 2)
    assert (low.count, low.confidence, low.accuracy) == pytest.approx((3, 0.3, 1 / 3))
    assert (high.count, high.confidence, high.accuracy) == pytest.approx((3, 2.5 / 3, 2 / 3))
    assert [one.count for one in reliability(sure, right, 4, equal_mass=True)] == [2, 1, 2, 1]
    assert calibration_error(sure, right, 2) == pytest.approx((abs(1 - 0.9) + abs(2 - 2.5)) / 6)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.sampled_from([0, 0.2, 0.5, 0.9, 1]), st.booleans()), min_size=1, max_size=30),
    st.randoms(use_true_random=False),
)
def test_the_order_of_the_words_is_nothing(words, random):
    """Oracle: the same words shuffled, also where many are equally sure; the error is a mean of distances in [0, 1]."""
    mixed = random.sample(words, len(words))
    for equal_mass in (False, True):
        one, other = (calibration_error(*zip(*given, strict=True), equal_mass=equal_mass) for given in (words, mixed))
        assert one == pytest.approx(other)
        assert 0 <= one <= 1


def test_noise_is_what_true_confidences_show():
    """Oracle: one bin: the mean distance of a binomial share from its probability; outcomes drawn from confidences."""
    words = np.arange(41)
    distance = scipy.stats.binom.pmf(words, 40, 0.8) @ np.abs(words / 40 - 0.8)
    assert calibration_noise([0.8] * 40, draws=4000) == pytest.approx(distance, rel=0.05)
    sure, wrong = overconfident(2000)
    random = np.random.default_rng(9)
    for equal_mass in (False, True):
        noise = calibration_noise(sure, equal_mass=equal_mass)
        true = np.mean([calibration_error(sure, random.random(2000) < sure, equal_mass=equal_mass) for _ in range(50)])
        assert noise == pytest.approx(true, rel=0.2)
        assert noise < calibration_error(sure, wrong, equal_mass=equal_mass) / 5
    assert calibration_noise([1.0, 0.0]) == 0


def test_fit_finds_the_line_that_was_drawn():
    """Oracle: the line the outcomes were drawn from; calibrated on one half, the other half's error is noise."""
    sure, right = overconfident()
    fitted = Calibration.fit(sure[::2], right[::2])
    assert (fitted.scale, fitted.offset) == pytest.approx((0.4, -0.7), abs=0.05)
    before, after = (calibration_error(one[1::2], right[1::2]) for one in (sure, fitted.apply(sure)))
    assert before > 0.15
    # The noise of a bin's share is at most 0.5 / sqrt(words); with 15 bins of 10,000 words about 0.01 in the mean.
    assert after < 0.02
    assert calibration_error(fitted.apply(sure[1::2]), right[1::2], equal_mass=True) < 0.02


@pytest.mark.parametrize("seed", range(3))
def test_fit_equals_scikit_learn(seed):
    """Oracle: scikit-learn's logistic regression without penalty; many words, so that Platt's targets are 0 and 1."""
    sure, right = overconfident(50_000, seed)
    logits = np.clip(scipy.special.logit(sure), -(edge := scipy.special.logit(1 - SUREST)), edge)
    model = sklearn.linear_model.LogisticRegression(C=np.inf, tol=1e-8).fit(logits[:, None], right)
    fitted = Calibration.fit(sure, right)
    assert (fitted.scale, fitted.offset) == pytest.approx((model.coef_[0, 0], model.intercept_[0]), abs=2e-3)


@settings(deadline=None, max_examples=80)
@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=2, max_size=25))
def test_no_other_line_is_more_likely(words):
    """Oracle: scipy's minimiser on the cross entropy with Platt's targets, over lines that do not fall."""
    sure, right = (np.array(column) for column in zip(*words, strict=True))
    fitted = Calibration.fit(sure, right)
    target = np.where(right, (right.sum() + 1) / (right.sum() + 2), 1 / ((~right).sum() + 2))
    logits = scipy.special.logit(np.clip(sure, SUREST, 1 - SUREST))

    def loss(line):
        x = line[0] * logits + line[1]
        return (np.logaddexp(0, x) - target * x).mean()

    best = scipy.optimize.minimize(loss, [0.5, 0.0], bounds=[(0, None), (None, None)], method="L-BFGS-B").fun
    assert fitted.scale >= 0
    assert loss((fitted.scale, fitted.offset)) <= best + 1e-7


def test_a_crowd_of_sure_words_and_one_doubtful_one():
    """Oracle: scipy's minimiser; Newton's whole step overshoots here, ever further."""
    sure = np.append(np.linspace(0.999, 0.9999, 27), 0.5)
    right = np.arange(28) % 27 != 3
    right[-1] = False
    fitted = Calibration.fit(sure, right)
    target = np.where(right, 27 / 28, 1 / 4)
    logits = scipy.special.logit(sure)
    best = scipy.optimize.minimize(
        lambda line: (np.logaddexp(0, line[0] * logits + line[1]) - target * (line[0] * logits + line[1])).sum(),
        [0.5, 0.0],
        method="Nelder-Mead",
        options={"xatol": 1e-8, "fatol": 1e-12, "maxiter": 4000},
    )
    assert (fitted.scale, fitted.offset) == pytest.approx(tuple(best.x), abs=1e-4)


def test_few_words_do_not_mean_certainty():
    """Oracle: Platt's targets: ten right words of ten at one confidence are worth 11/12; falling lines are flat."""
    assert Calibration.fit([0.9] * 10, [True] * 10).apply([0.9, 0.1]) == pytest.approx([11 / 12] * 2)
    turned = Calibration.fit([0.9, 0.8, 0.2, 0.1], [False, False, True, True])
    assert (turned.scale, turned.offset) == (0, pytest.approx(0))
    split = Calibration.fit([0.2, 0.3, 0.8, 0.9], [False, False, True, True])
    assert math.isfinite(split.scale)
    assert split.scale > 0
    assert Calibration.fit([1.0, 1.0, 0.0], [True, True, False]).apply([1.0])[0] < 0.9


def test_the_plain_line_changes_nothing():
    """Oracle: the identity, up to the ends that are kept off 0 and 1."""
    sure = np.linspace(0, 1, 101)
    plain = Calibration().apply(sure)
    assert plain[1:-1] == pytest.approx(sure[1:-1], abs=1e-12)
    assert (plain[0], plain[-1]) == pytest.approx((SUREST, 1 - SUREST))
    assert (np.diff(Calibration(0.3, -2).apply(sure)) > 0).all()
    assert Calibration(2, 1).apply([[0.5], [0.9]]).shape == (2, 1)


def read_back(plain, folder):
    """The calibration of a model folder whose config.yaml says ``plain``."""
    config = from_yaml((models_dir() / "an4" / "config.yaml").read_text())
    (folder / "config.yaml").write_text(to_yaml({**config, "decoder": None, "calibration": plain}))
    return read_config(folder).calibration


def test_plain_numbers_are_read_back(tmp_path):
    """Oracle: the calibration that was written; a number that is not there is that of the plain line."""
    fitted = Calibration.fit(*overconfident(500))
    assert read_back(to_plain(fitted), tmp_path) == fitted
    assert read_back({"scale": 2}, tmp_path) == Calibration(2.0, 0.0)
    assert read_back({}, tmp_path) == read_back(None, tmp_path) == Calibration()


@pytest.mark.parametrize(
    ("plain", "key"),
    [
        ({"scale": 1, "offset": 0, "more": 1}, "calibration.more"),
        ([1, 2], "calibration"),
        ({"scale": "1", "offset": 0}, "calibration.scale"),
        ({"scale": True, "offset": 0}, "calibration.scale"),
        ({"scale": 1, "offset": None}, "calibration.offset"),
        ({"scale": -1, "offset": 0}, "scale"),
        ({"scale": math.nan, "offset": 0}, "scale"),
        ({"scale": 1, "offset": math.inf}, "offset"),
    ],
)
def test_other_numbers_are_refused(plain, key, tmp_path):
    """Oracle: one line that names the file and the key."""
    with pytest.raises(ModelError, match=rf"config\.yaml cannot be read: {key}\b[^\n]*$"):
        read_back(plain, tmp_path)


def test_what_confidences_tell():
    """Oracle: the definition by hand: one share for all tells nothing, certainty all, a certain error is infinite."""
    right = [True, True, True, False]
    assert normalized_cross_entropy([0.75] * 4, right) == pytest.approx(0)
    assert normalized_cross_entropy([1, 1, 1, 0], right) == pytest.approx(1)
    doubt = -(3 * math.log(0.75) + math.log(0.25))
    left = -(3 * math.log(0.9) + math.log(0.6))
    assert normalized_cross_entropy([0.9, 0.9, 0.9, 0.4], right) == pytest.approx((doubt - left) / doubt)
    assert normalized_cross_entropy([0.5, 0.5, 0.5, 1], right) == -math.inf
    assert normalized_cross_entropy([0.5, 0.9], [True, True]) is None


@pytest.mark.parametrize(("scale", "offset"), [(-0.1, 0), (math.nan, 0), (math.inf, 0), (1, math.nan)])
def test_a_line_that_falls_is_refused(scale, offset):
    """Oracle: the error names the value."""
    with pytest.raises(ConfigError, match=r"^(scale=(-0.1|nan|inf)|offset=nan): a finite number"):
        Calibration(scale, offset)


@pytest.mark.parametrize("measure", [calibration_error, normalized_cross_entropy, reliability, Calibration.fit])
@pytest.mark.parametrize(
    ("sure", "right"), [([], []), ([0.5], [True, False]), ([1.1], [True]), ([math.nan], [True]), ([-0.1], [False])]
)
def test_bad_confidences_are_one_line(measure, sure, right):
    """Oracle: an error of the data, on one line."""
    with pytest.raises(DataError, match=r"^[^\n]*$"):
        measure(sure, right)
