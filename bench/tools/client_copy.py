#!/usr/bin/env python3
"""A day of tokens with google-cloud-bigquery's row iterator and psycopg's COPY.

    client_copy.py DAY TABLE
"""
import sys

import psycopg

from client import client, parameters
from query import COLUMNS, SQL, delete


def main(day, table):
    rows = client().query(SQL, job_config=parameters(day)).result()
    with psycopg.connect() as connection, connection.cursor() as cursor:
        delete(cursor, table, day)
        with cursor.copy(f"COPY {table} ({', '.join(COLUMNS)}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row.values())


main(*sys.argv[1:])
