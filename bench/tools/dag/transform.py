#!/usr/bin/env python3
"""Second task: the columns as PostgreSQL wants them, into another Parquet file.

    transform.py IN.parquet OUT.parquet
"""
import sys
from decimal import Decimal, InvalidOperation

import pandas as pd


def number(text):
    """What is no number becomes NULL; floats would lose digits."""
    try:
        return Decimal(text.strip())
    except (AttributeError, InvalidOperation):
        return None


def main(source, out):
    frame = pd.read_parquet(source)
    for column in ("decimals", "total_supply"):
        frame[column] = frame[column].map(number)
    for column in ("address", "symbol", "name", "block_hash"):
        frame[column] = frame[column].str.strip()
    frame = frame.sort_values(["block_timestamp", "address"])
    # as text: supplies have more digits than Parquet's decimals
    for column in ("decimals", "total_supply"):
        frame[column] = frame[column].map(lambda value: None if value is None else format(value, "f"))
    frame.to_parquet(out, index=False)


main(*sys.argv[1:])
