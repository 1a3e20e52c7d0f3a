#!/usr/bin/env python3
"""The Grafana dashboard of contratos, written as JSON.

    dashboard.py            print it
    dashboard.py --write    write grafana/contratos.json beside this file
    dashboard.py --check    exit code 1 if that file is not what this makes

Needs grafana-foundation-sdk (requirements.txt), whose types are those of Grafana's
schema.  The data source and the sources are variables of the dashboard.
"""
import sys
from pathlib import Path

from grafana_foundation_sdk.builders import prometheus, stat, statetimeline, timeseries
from grafana_foundation_sdk.builders.common import ReduceDataOptions, StackingConfig, VizLegendOptions
from grafana_foundation_sdk.builders.dashboard import (
    Dashboard, DatasourceVariable, QueryVariable, Row, ThresholdsConfig)
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import LegendDisplayMode, LegendPlacement, StackingMode
from grafana_foundation_sdk.models.dashboard import (
    DataSourceRef, Threshold, ThresholdsMode, ValueMap, ValueMappingResult, VariableRefresh)

FILE = Path(__file__).parent / "grafana" / "contratos.json"
DATA_SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
WIDTH = 24


def metric(name):
    return f'contratos_source_{name}{{source=~"$source"}}'


def with_targets(panel, targets):
    for letter, (expression, legend) in zip("ABCDEF", targets):
        panel = panel.with_target(prometheus.Dataquery().ref_id(letter).expr(expression).range().legend_format(legend)
                                  .datasource(DATA_SOURCE))
    return panel


def thresholds(*steps):
    """Green, then from each value on the color that follows it."""
    levels = [Threshold(value=None, color="green")] + [Threshold(value=value, color=color) for value, color in steps]
    return ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(levels)


def number(title, text, expression, unit="short", steps=(), legend="{{source}}"):
    panel = (stat.Panel().title(title).description(text).datasource(DATA_SOURCE).unit(unit).thresholds(thresholds(*steps))
             .reduce_options(ReduceDataOptions().calcs(["lastNotNull"])))
    return with_targets(panel, [(expression, legend)])


def graph(title, text, targets, unit="short", stacked=False):
    panel = (timeseries.Panel().title(title).description(text).datasource(DATA_SOURCE).unit(unit).min(0)
             .fill_opacity(30 if stacked else 8)
             .legend(VizLegendOptions().display_mode(LegendDisplayMode.LIST).placement(LegendPlacement.BOTTOM).show_legend(True)))
    if stacked:
        panel = panel.stacking(StackingConfig().mode(StackingMode.NORMAL))
    return with_targets(panel, targets)


def on_off(title, text, targets, labels):
    mapping = ValueMap({str(value): ValueMappingResult(text=word, color=color) for value, (word, color) in labels.items()})
    panel = statetimeline.Panel().title(title).description(text).datasource(DATA_SOURCE).mappings([mapping])
    return with_targets(panel, targets)


ROWS = {
    "Now": (4, [
        number("Newest day", "Time since the end of the newest day that is loaded: at most 32 hours with run_at at 08:00",
               metric("newest_day_age_seconds"), "s", ((36 * 3600, "orange"), (60 * 3600, "red"))),
        number("Late", "How long yesterday has been due and is not loaded", metric("late_seconds"), "s",
               ((3600, "orange"), (4 * 3600, "red"))),
        number("Failed days", "Days in state failed or refused", metric("failed_days"), steps=((1, "red"),)),
        number("Days that differ", "Days with a difference that loading does not cure", metric("differs_days"), steps=((1, "red"),)),
        number("Budget of the day", "Bytes billed in this UTC day by the cap; no value: there is no cap",
               metric("budget_used_ratio"), "percentunit", ((0.7, "orange"), (0.9, "red"))),
        number("Next wake", "Time until the worker next does something", metric("next_wake_seconds"), "s"),
    ]),
    "Freshness": (8, [
        graph("Age of the newest day", "In the target, and as far as it is known in BigQuery", [
            (metric("newest_day_age_seconds"), "{{source}}"), (metric("upstream_age_seconds"), "{{source}}, BigQuery")], "s"),
        graph("Since the last success", "Of a load, and of a recheck", [
            (metric("last_success_age_seconds"), "{{source}}, load"), (metric("last_check_age_seconds"), "{{source}}, recheck")], "s"),
        graph("Late and waiting", "How long yesterday has been due; how long the day that has waited longest has waited", [
            (metric("late_seconds"), "{{source}}, late"), (metric("waiting_seconds"), "{{source}}, waiting")], "s"),
    ]),
    "Days": (8, [
        graph("Days to be loaded", "By their state", [
            (metric("missing_days"), "{{source}}, missing"), (metric("queued_days"), "{{source}}, queued"),
            (metric("running_days"), "{{source}}, running"), (metric("waiting_days"), "{{source}}, waiting")], stacked=True),
        graph("Days that are loaded", "By their state", [
            (metric("provisional_days"), "{{source}}, provisional"), (metric("confirmed_days"), "{{source}}, confirmed")], stacked=True),
        graph("Days with trouble", "Failed or refused, differing, empty in BigQuery after the newest day with rows; and confirmed days that changed today", [
            (metric("failed_days"), "{{source}}, failed"), (metric("differs_days"), "{{source}}, differs"),
            (metric("empty_days"), "{{source}}, empty"), (metric("confirmed_changed_today"), "{{source}}, confirmed and changed")]),
    ]),
    "Loads": (8, [
        graph("Rows of the last load", "And its values that could not be kept", [
            (metric("last_load_rows"), "{{source}}, rows"), (metric("last_load_rejects"), "{{source}}, rejects")]),
        graph("Time of the last load", "With what it waited for BigQuery to have the day", [(metric("last_load_seconds"), "{{source}}")], "s"),
        graph("Rows in this UTC day", "Begins at 0 at midnight", [(metric("rows_today"), "{{source}}")]),
        graph("Time of loads in this UTC day", "Begins at 0 at midnight", [(metric("load_seconds_today"), "{{source}}")], "s"),
    ]),
    "Attempts and cost": (8, [
        graph("Attempts in this UTC day", "Begins at 0 at midnight", [
            (metric("loads_today"), "{{source}}, loads"), (metric("checks_today"), "{{source}}, rechecks"),
            (metric("failures_today"), "{{source}}, failures of both")]),
        graph("Failures by reason", "BigQuery's word, or an SQLSTATE; in this UTC day", [
            ('contratos_reason_failures_today{source=~"$source"}', "{{source}}, {{reason}}")], stacked=True),
        graph("Bytes billed", "In this UTC day, and by the last load", [
            (metric("bytes_billed_today"), "{{source}}, today"), (metric("last_load_bytes_billed"), "{{source}}, last load")], "bytes"),
    ]),
    "Worker": (6, [
        on_off("Worker", "Whether one runs in the database, and which sources it loads", [
            ('max without (source) (contratos_source_worker_up)', "worker"), (metric("enabled"), "{{source}}, enabled")],
            {0: ("no", "red"), 1: ("yes", "green")}),
        number("Steps that fail", "Of the worker, besides loading", "max without (source) (contratos_source_failing_steps)",
               steps=((1, "red"),), legend="steps"),
    ]),
}


def dashboard():
    board = (Dashboard("contratos").uid("contratos").tags(["contratos", "postgresql", "bigquery"]).refresh("1m").time("now-7d", "now")
             .timezone("utc").editable()
             .with_variable(DatasourceVariable("datasource").label("Data source").type("prometheus"))
             .with_variable(QueryVariable("source").label("Source").datasource(DATA_SOURCE)
                            .query("label_values(contratos_source_enabled, source)")
                            .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED).multi(True).include_all(True).all_value(".*")))
    for title, (height, panels) in ROWS.items():
        board = board.with_row(Row(title))
        for panel in panels:
            board = board.with_panel(panel.height(height).span(WIDTH // len(panels)))
    return JSONEncoder(sort_keys=True, indent=1).encode(board.build()) + "\n"


def main():
    text = dashboard()
    if sys.argv[1:] == ["--write"]:
        FILE.write_text(text, encoding="utf-8")
    elif sys.argv[1:] == ["--check"]:
        if not FILE.exists() or FILE.read_text(encoding="utf-8") != text:
            sys.exit(f"{FILE} is not what {Path(__file__).name} makes: run it with --write")
    else:
        print(text, end="")


main()
