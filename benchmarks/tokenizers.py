"""What each way of cutting returns into tokens costs: ``python benchmarks/tokenizers.py``.

Fits every scheme on the bundled stocks until 2007 and scores its token frequencies, without any
network, on the days from 2008, beside the reference that knows no tokens. ``--panel FILE`` with
``--train-until`` and ``--test-from`` does the same for prices of your own.
"""

import argparse
from pathlib import Path

import numpy as np

from quantseq.evaluation.significance import diebold_mariano
from quantseq.forecasting.schemes import SchemeComparison, compare_schemes
from quantseq.market.tables import read_panel
from quantseq.pipeline.data import sample_panel


def lines(comparison: SchemeComparison) -> list[str]:
    """The comparison as a Markdown table."""
    found = [
        "| tokens | V asked | V | bins unused | variance kept | log score | over the reference | t |",
        "|---|---|---|---|---|---|---|---|",
    ]
    daily = comparison.differences
    dates = daily["cutoff"].to_numpy().astype("datetime64[D]")
    for row, name in zip(
        comparison.table.to_dict("records"), daily.columns.drop("cutoff"), strict=True
    ):
        excess = daily[name].to_numpy()
        test = diebold_mariano(excess, np.zeros(len(excess)), dates)
        found.append(
            f"| `{row['scheme']}` | {row['asked']} | {row['bins']} | {row['unused']:.1%} "
            f"| {row['variance']:.1%} | {row['log_score']:.4f} | {row['excess']:+.4f} "
            f"| {test.t:+.1f} |".replace(" -", " −")
        )
    return found


def main() -> None:
    """Compare, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--panel", type=Path)
    parser.add_argument("--train-until", default="2007-12-31")
    parser.add_argument("--test-from", default="2008-01-02")
    asked = parser.parse_args()
    panel = sample_panel() if asked.panel is None else read_panel(asked.panel)
    comparison = compare_schemes(
        panel, train_until=asked.train_until, test_from=asked.test_from, num_bins=(24, 64)
    )
    zeros = comparison.table["zeros"].iloc[0]
    print(f"{len(panel)} symbols, {zeros:.2%} of the training returns are exactly 0")
    print("\n".join(lines(comparison)))


if __name__ == "__main__":
    main()
