"""Rivals are fitted on the training block alone, in processes that never load torch."""

import subprocess
import sys

import numpy as np

from quantseq.evaluation.entrants import rival, truth
from quantseq.evaluation.nulls import make_null
from quantseq.evaluation.walkforward import WalkForward
from tests.prices import simulate_panel

PANEL = simulate_panel("AB", 420)
FOLD = WalkForward(test_size=40, validation_size=30, purge=3, min_train=250).split(PANEL.sessions)[
    0
]


def test_a_rival_sees_the_training_block_and_nothing_after_it() -> None:
    past = PANEL.until(FOLD.validation_end)
    model = rival("ewma-t", 2).fit(past, FOLD, 0, 1)
    assert (model.name, model.trained_until) == ("ewma-t", FOLD.train_end)
    found = model.predict(PANEL, PANEL.sessions[-1:], horizon=2)
    assert found.horizon == 2


def test_the_truth_is_handed_out_as_it_is() -> None:
    null = make_null("gbm", PANEL, horizon=2, seed=0)
    assert null.truth is not None
    entrant = truth("gbm", null.truth)
    assert entrant.fit(null.panel, FOLD, 0, 1) is null.truth
    assert entrant.key == {"kind": "gbm"}
    assert np.isfinite(null.truth.scales["A"]).all()


def test_a_process_that_fits_rivals_does_not_load_torch() -> None:
    code = "import sys, quantseq.evaluation.entrants; print('torch' in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "False"
