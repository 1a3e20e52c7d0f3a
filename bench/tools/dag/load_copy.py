#!/usr/bin/env python3
"""Third task, as one writes it who knows COPY: the day is replaced in PostgreSQL.

    load_copy.py DAY TABLE IN.parquet
"""
import os
import sys

import pandas as pd
import psycopg

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from query import delete  # noqa: E402


def main(day, table, source):
    frame = pd.read_parquet(source)
    frame = frame.astype(object).where(frame.notna(), None)
    with psycopg.connect() as connection, connection.cursor() as cursor:
        delete(cursor, table, day)
        with cursor.copy(f"COPY {table} ({', '.join(frame.columns)}) FROM STDIN") as copy:
            for row in frame.itertuples(index=False, name=None):
                copy.write_row(row)


main(*sys.argv[1:])
