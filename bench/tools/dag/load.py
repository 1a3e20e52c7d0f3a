#!/usr/bin/env python3
"""Third task, as pandas has it: the day is replaced in PostgreSQL.

    load.py DAY TABLE IN.parquet
"""
import os
import sys

import pandas as pd
from sqlalchemy import Numeric, create_engine

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from query import delete  # noqa: E402


def main(day, table, source):
    frame = pd.read_parquet(source)
    # where libpq's environment says
    with create_engine("postgresql+psycopg://").begin() as connection:
        delete(connection.connection.cursor(), table, day)
        frame.to_sql(table, connection, if_exists="append", index=False,
                     dtype={"decimals": Numeric, "total_supply": Numeric})


main(*sys.argv[1:])
