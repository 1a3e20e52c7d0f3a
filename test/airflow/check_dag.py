"""What can be said about the DAG without running it; a TAP line per check.

    check_dag.py FOLDER

For Airflow 2 and 3, in the environment of either.
"""
import os
import sys
import warnings
from datetime import datetime, timedelta, timezone

warnings.simplefilter("ignore")
os.environ.pop("CONTRATOS_RETRY_DELAY", None)

import airflow  # noqa: E402

try:
    from airflow.dag_processing.dagbag import DagBag  # 3.2 and later
except ImportError:
    from airflow.models.dagbag import DagBag
from airflow.timetables.base import TimeRestriction  # noqa: E402

import pendulum  # noqa: E402

failed = 0


def check(title, got, wanted):
    global failed
    ok = got == wanted
    failed += not ok
    print(f"{'ok' if ok else 'not ok'} - Airflow {airflow.__version__}: {title}")
    if not ok:
        print(f"# got {got!r}\n# not {wanted!r}")


bag = DagBag(dag_folder=sys.argv[1], include_examples=False)
check("the file is imported without an error", dict(bag.import_errors), {})
dag = bag.dags.get("migracao_contratos")
check("it has the DAG, under the id that the team has", sorted(bag.dags), ["migracao_contratos"])
if not dag:
    sys.exit(1)
load = dag.get_task("load_day")
check("three retries, a minute apart", (load.retries, load.retry_delay), (3, timedelta(minutes=1)))
check("it catches up, one day after the other", (dag.catchup, dag.max_active_runs), (True, 1))
check("the sensor comes after the load", load.downstream_task_ids, {"day_is_there"})

# what the scheduler would make of it, from the first run on
restriction = TimeRestriction(earliest=pendulum.datetime(2026, 11, 1, 8, tz="UTC"), latest=None, catchup=True)
intervals, last = [], None
for _ in range(3):
    info = dag.timetable.next_dagrun_info(last_automated_data_interval=last, restriction=restriction)
    last = info.data_interval
    intervals.append((info.run_after.isoformat(), load.sql, last.start, last.end))
check("the start date is the first interval's", pendulum.instance(dag.start_date).isoformat(), "2026-11-01T08:00:00+00:00")
check("the runs are at 08:00 UTC, each after its interval, none left out",
      [(run_after, start.isoformat()) for run_after, _, start, _ in intervals],
      [(f"2026-11-0{d + 1}T08:00:00+00:00", f"2026-11-0{d}T08:00:00+00:00") for d in (1, 2, 3)])


def rendered(task, start):
    """The task's SQL, as the run of the interval that begins then has it."""
    start = pendulum.instance(start)
    return task.render_template(task.sql, {"data_interval_start": start, "data_interval_end": start.add(days=1)})


for task in (load, dag.get_task("day_is_there")):
    check(f"{task.task_id}: each run is for the day on which its interval begins",
          [f"'2026-11-0{d}'" in rendered(task, start) for d, (_, _, start, _) in enumerate(intervals, 1)], [True] * 3)
# the same moment as a clock elsewhere has it is the same day
elsewhere = timezone(timedelta(hours=-11))
check("a day is a day in UTC", "'2026-11-03'" in rendered(load, datetime(2026, 11, 2, 21, tzinfo=elsewhere)), True)
sys.exit(1 if failed else 0)
