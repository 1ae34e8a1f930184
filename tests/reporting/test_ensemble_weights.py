from liftloop.reporting.ensemble_weights import weights_of, why_weights


def test_weights_are_found_among_the_metrics() -> None:
    assert weights_of({"weight_curves": 0.75, "misfit": 1.0}) == {"curves": 0.75}


def test_the_member_whose_weight_moved_most_is_named_with_the_reason() -> None:
    now = {"curves": 0.7, "pooled": 0.2, "surface": 0.1}
    said = why_weights(now, {"curves": 0.4, "pooled": 0.3, "surface": 0.3})
    assert "curves from randomized evidence alone (70%)" in said
    assert "rose from 40% to 70%" in said and "better" in said


def test_weights_that_stay_are_said_to_stay() -> None:
    same = {"curves": 0.7, "pooled": 0.3}
    assert why_weights(same, same).endswith("the weights are as before.")


def test_a_first_training_compares_with_nothing() -> None:
    assert why_weights({"curves": 0.8, "pooled": 0.2}, {}) == (
        "Most to say have curves from randomized evidence alone (80%)."
    )


def test_a_model_that_is_no_ensemble_says_nothing() -> None:
    assert why_weights({}, {}) == ""
    assert why_weights({"calibrated": 1.0}, {}) == ""
