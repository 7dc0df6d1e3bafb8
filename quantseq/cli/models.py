"""Commands about models: train and forecast."""

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from quantseq.cli.options import (
    DATA,
    REPORTS,
    AllowBadData,
    DataDir,
    End,
    Jobs,
    Json,
    PanelFile,
    Quiet,
    ReportsDir,
    Seed,
    Start,
    Symbols,
    day,
    places_at,
    progress_of,
    save_json,
    symbol_list,
)
from quantseq.errors import ConfigError


def train(
    task: Annotated[str, typer.Option(help="price, or a toy task: copy, reverse, sort.")],
    more: Symbols = None,
    symbols: Annotated[
        list[str] | None,
        typer.Option(help="Stored symbols, comma-separated or repeated; default: all of them."),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(help="For toys: seed, bidirectional, attention or strong [strong]."),
    ] = None,
    batches: Annotated[
        int | None, typer.Option(min=1, help="For toys: training batches instead of the preset's.")
    ] = None,
    panel: PanelFile = None,
    start: Start = None,
    end: End = None,
    horizon: Annotated[int | None, typer.Option(min=1, help="For price: steps ahead [5].")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Model folder; default: DATA_DIR/models/TASK.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where it was interrupted.")] = (
        False
    ),
    figures: Annotated[
        Path | None,
        typer.Option(help="For toys: folder of the figures as SVG and PNG; default: the model's."),
    ] = None,
    allow_bad_data: AllowBadData = False,
    seed: Seed = 0,
    jobs: Jobs = 2,
    data_dir: DataDir = DATA,
    quiet: Quiet = False,
    json: Json = None,
) -> None:
    """Train the model: on prices after the copy gate, or on a toy task that validates the machine.

    A toy task prints loss and three samples, teacher-forced and free-running, before batch 0, 1000,
    2000, ..., then how well fresh and longer sequences are answered; its page and charts lie beside the model.
    """
    from quantseq.pipeline import toys, training
    from quantseq.seq2seq.proof.toys import TOYS

    places, progress = places_at(data_dir), progress_of(quiet)
    folder = out or places.models / task
    toy = next((known for known in TOYS if known == task), None)
    if toy is not None:
        _only_for(
            "price",
            more=more,
            symbols=symbols,
            panel=panel,
            start=start,
            end=end,
            horizon=horizon,
            allow_bad_data=allow_bad_data or None,
        )
        metrics = toys.train_copy(
            preset or "strong",
            out=folder,
            seed=seed,
            batches=batches,
            toy=toy,
            resume=resume,
            figures=figures,
            progress=progress,
        )
        lines = toys.describe(metrics)
    elif task == "price":
        from quantseq.forecasting.networks import ForecasterConfig
        from quantseq.pipeline.data import resolve_panel

        _only_for("copy, reverse or sort", preset=preset, batches=batches, figures=figures)
        wanted = symbol_list(more, symbols)
        prices = resolve_panel(wanted, panel=panel, places=places, start=day(start), end=day(end))
        metrics = training.train_price(
            prices,
            out=folder,
            config=ForecasterConfig() if horizon is None else ForecasterConfig(horizon=horizon),
            places=places,
            seed=seed,
            jobs=jobs,
            resume=resume,
            allow_bad_data=allow_bad_data,
            progress=progress,
        )
        lines = training.describe(metrics)
    else:
        raise ConfigError(f"There is no task {task!r}. Choose price, {', '.join(TOYS)}.")
    save_json(json, metrics)
    if not quiet:
        for line in lines:
            typer.echo(line)
        typer.echo(f"{'Model' if toy is None else 'Model and charts'}: {folder}")
        if metrics.report is not None:
            typer.echo(f"Report: {metrics.report}")


def _only_for(task: str, **given: object) -> None:
    """Refuse options of the other task, rather than ignore them."""
    for name, value in given.items():
        if value is not None:
            option = "symbols" if name == "more" else f"--{name.replace('_', '-')}"
            raise ConfigError(
                f"{option} belongs to --task {task}. Leave it out, or change the task."
            )


def forecast(
    symbols: Symbols = None,
    horizon: Annotated[int, typer.Option(min=1, help="Sessions ahead.")] = 5,
    model: Annotated[
        Path | None, typer.Option(help="Model folder; default: DATA_DIR/models/price.")
    ] = None,
    cutoff: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="Forecast as of this session."),
    ] = None,
    paths: Annotated[int, typer.Option(min=100, help="Sampled paths.")] = 1000,
    panel: PanelFile = None,
    bars: Annotated[
        bool, typer.Option("--bars", help="Also sample and draw open, high, low and volume.")
    ] = False,
    csv: Annotated[Path | None, typer.Option(help="Also write the table to this file.")] = None,
    seed: Seed = 0,
    jobs: Jobs = 2,
    allow_bad_data: AllowBadData = False,
    data_dir: DataDir = DATA,
    reports_dir: ReportsDir = REPORTS,
    quiet: Quiet = False,
    json: Json = None,
) -> None:
    """Forecast the next sessions: quantiles, P(up), and a fan chart per symbol."""
    from quantseq.files import write_text
    from quantseq.forecasting.model_folder import load_forecaster
    from quantseq.pipeline import forecasting
    from quantseq.pipeline.data import need_symbols, resolve_panel
    from quantseq.pipeline.health import as_rows

    wanted, places = symbol_list(symbols), places_at(data_dir, reports_dir)
    need_symbols(wanted, panel)
    prices = resolve_panel(wanted, panel=panel, places=places)
    fitted = load_forecaster(model or places.models / "price")
    found = forecasting.outlook(
        prices,
        fitted,
        horizon=horizon,
        cutoff=day(cutoff),
        num_paths=paths,
        seed=seed,
        bars=bars,
        allow_bad_data=allow_bad_data,
    )
    charts = forecasting.draw_fans(prices, found, places.reports, jobs=jobs)
    candles = forecasting.draw_bars(prices, found, places.reports, jobs=jobs)
    table = found.table.assign(cutoff=found.table["cutoff"].dt.strftime("%Y-%m-%d"))
    typical = found.typical_bars()
    typical["cutoff"] = typical["cutoff"].astype("datetime64[s]").dt.strftime("%Y-%m-%d")
    if csv is not None:
        write_text(csv, table.to_csv(index=False))
    save_json(
        json,
        {
            "forecasts": table.to_dict(orient="records"),
            "model": fitted.describe(),
            "charts": {symbol: str(path) for symbol, path in charts.items()},
            "bars": typical.to_dict(orient="records"),
            "bar_charts": {symbol: str(path) for symbol, path in candles.items()},
            "notes": list(found.notes),
            "data_findings": as_rows(found.data_findings),
            "seed": seed,
        },
    )
    if not quiet:
        for line in forecasting.describe(found, fitted):
            typer.echo(line)
        for path in (*charts.values(), *candles.values()):
            typer.echo(f"Chart: {path}")
