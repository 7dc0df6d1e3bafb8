"""Writes the pages that are made from registries: ``python docs/generate.py``.

``metrics.md`` comes from the registry of figures, ``policies.md`` from the policies and the benchmarks. A
test compares both with what stands here, so that a definition has one home.
"""

import inspect
from dataclasses import fields
from pathlib import Path

from quantseq.trading import costs, metrics
from quantseq.trading import policies as rules
from quantseq.trading.benchmarks import BENCHMARKS
from quantseq.trading.metrics import METRICS
from quantseq.trading.policies import POLICIES

HERE = Path(__file__).parent
NOTE = "<!-- Made by docs/generate.py; edit the registry instead. -->"


def row(*cells: object) -> str:
    """One line of a table."""
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


def table(headers: list[str], rows: list[str]) -> list[str]:
    """A table with its head."""
    return [row(*headers), row(*("---" for _ in headers)), *rows]


def prose(docstring: str | None) -> str:
    """A docstring as Markdown: literal blocks as code, references as a list."""
    text = inspect.cleandoc(docstring or "")
    text = text.replace("``", "`").replace("]_", "]").replace(".. [", "- [")
    for title in ("References", "The rules, in their order", "The charges"):
        text = text.replace(f"{title}\n{'-' * len(title)}", f"### {title}\n")
    return text


def value(default: object) -> str:
    """A default as a TOML file would say it."""
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, float):
        return f"{default:.3g}"
    return ", ".join(default) if isinstance(default, tuple) else str(default)


def figures() -> str:
    """The page of figures."""
    rows = [
        row(
            f"`{one.name}`",
            one.label,
            one.formula,
            one.unit,
            "—" if one.ddof is None else one.ddof,
            one.annualisation,
            one.source,
        )
        for one in METRICS.values()
    ]
    headers = ["name", "figure", "formula", "unit", "ddof", "annualised", "source"]
    lines = ["# Figures", "", NOTE, "", prose(metrics.__doc__).split("\n\n", 2)[2], ""]
    return "\n".join([*lines, *table(headers, rows)]) + "\n"


def policies() -> str:
    """The page of policies, benchmarks and costs."""
    shared = {one.name: one.default for one in fields(rules.Policy)}
    rows = []
    for name, policy in POLICIES.items():
        own = [
            f"`{one.name}` {value(one.default)}"
            for one in fields(policy)
            if shared.get(one.name) != one.default
        ]
        rows.append(row(f"`{name}`", policy.formula, ", ".join(own) or "—", policy.source))
    lines = [
        "# Policies, benchmarks and costs",
        "",
        NOTE,
        "",
        "Every policy reads the fill-to-fill log return, the one that the position will really hold, by "
        "its mean m, standard deviation s and probability of a rise p; μ = m + s²/2 is the expected "
        "simple return. Choose one with `--policy NAME` or in the TOML file:",
        "",
        "```toml",
        "[policy]",
        'name = "kelly"',
        'parameters = { fraction = 0.25, band = "cost", cvar_cap = 0.03 }',
        "```",
        "",
        *table(
            [
                "policy",
                "position or weight",
                "parameters that differ from the shared ones",
                "source",
            ],
            rows,
        ),
        "",
        "## What all policies share",
        "",
        prose(rules.__doc__).split("\n\n", 3)[3],
        "",
        "## Benchmarks",
        "",
        "Run over the same decision dates, symbols, costs and fills, and shown beside every strategy. "
        "They go short only if the strategy does.",
        "",
        *table(
            ["benchmark", "rule", "source"],
            [row(one.label, one.formula, one.source) for one in BENCHMARKS.values()],
        ),
        "",
        "## Costs",
        "",
        prose(costs.__doc__).split("\n\n", 2)[2],
    ]
    return "\n".join(lines) + "\n"


PAGES = {"metrics.md": figures, "policies.md": policies}

if __name__ == "__main__":
    for page, make in PAGES.items():
        (HERE / page).write_text(make(), encoding="utf-8")
