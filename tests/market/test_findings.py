"""A finding counts everything, names a few, and is none where there is nothing."""

import numpy as np

from quantseq.market.findings import SHOWN, Finding, finding


def test_a_finding_counts_all_and_names_the_first_few() -> None:
    days = np.arange("2020-01-01", "2020-02-01", dtype="datetime64[D]")
    found = finding("rule", True, days, "what")
    assert found is not None
    assert (found.severity, found.count, len(found.sessions)) == ("error", 31, SHOWN)
    assert found.sessions[0] == "2020-01-01"
    assert finding("rule", False, days[:1], "what") == Finding(
        "rule", "warning", 1, ("2020-01-01",), "what"
    )


def test_nothing_is_no_finding() -> None:
    assert finding("rule", True, [], "what") is None
