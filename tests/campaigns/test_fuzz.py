"""The fuzz campaign, short: every door is tried, and no input ends in a traceback."""

from tests.campaigns.fuzz import campaign


def test_no_input_ends_in_a_traceback() -> None:
    _, faults = campaign(200, 14, models=False)
    assert not faults
