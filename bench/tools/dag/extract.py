#!/usr/bin/env python3
"""First task: the day's rows, as a data frame, into a Parquet file.

    extract.py DAY OUT.parquet
"""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from client import client, parameters  # noqa: E402
from query import SQL  # noqa: E402


def main(day, out):
    frame = client().query(SQL, job_config=parameters(day)).to_dataframe(create_bqstorage_client=False)
    frame.to_parquet(out, index=False)


main(*sys.argv[1:])
