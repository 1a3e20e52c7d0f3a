"""The DAG that filled `tokens` in three tasks and files, as one call of contratos.

It keeps its id, so its history stays in Airflow's grid.  It needs no Google
credentials: PostgreSQL has them.  For Airflow 2.4 or newer, and 3.
"""
import os
from datetime import timedelta

import pendulum
from airflow import DAG
from airflow.providers.common.sql.operators.sql import SQLExecuteQueryOperator
from airflow.providers.common.sql.sensors.sql import SqlSensor
from airflow.timetables.interval import CronDataIntervalTimetable

CONNECTION = "contratos"  # Airflow's connection to PostgreSQL, with the role of role.sql
SOURCE = "tokens"  # a name in contratos_sources; its `enabled` is false while Airflow loads it
# Catch-up begins here: the first day that is loaded.
FIRST_DAY = pendulum.datetime(2026, 11, 1, 8, tz="UTC")
RETRY_DELAY = timedelta(seconds=float(os.environ.get("CONTRATOS_RETRY_DELAY", "60")))

# The interval of a run is from 08:00 to 08:00: it begins on the day that is
# loaded, and ends, hours after that day is over, when the run starts.  A run
# that is late, or made again, still loads that day and never "yesterday".
# (A plain cron string has no interval in Airflow 3.)
DAY = "{{ data_interval_start.in_timezone('UTC').strftime('%Y-%m-%d') }}"

with DAG(
    "migracao_contratos",
    description="Loads the day that is over from BigQuery into PostgreSQL",
    schedule=CronDataIntervalTimetable("0 8 * * *", timezone="UTC"),
    start_date=FIRST_DAY,
    catchup=True,
    max_active_runs=1,
    default_args={"retries": 3, "retry_delay": RETRY_DELAY},
    tags=["contratos"],
) as dag:
    # All of the day or nothing: to run it again replaces the day.
    load = SQLExecuteQueryOperator(
        task_id="load_day",
        conn_id=CONNECTION,
        sql=f"SELECT day, status, rows_loaded, rows_replaced, message FROM contratos_run('{DAY}', '{SOURCE}')",
    )

    # What comes after this task finds the day loaded, whoever has loaded it.
    there = SqlSensor(
        task_id="day_is_there",
        conn_id=CONNECTION,
        sql=f"""SELECT count(*) FROM contratos_days WHERE source = '{SOURCE}' AND day = '{DAY}'
            AND state IN ('provisional', 'confirmed', 'accepted')""",
        mode="reschedule",
        poke_interval=60,
        timeout=12 * 3600,
    )

    load.set_downstream(there)
