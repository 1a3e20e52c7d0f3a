"""The query that all three ask, and a day as its parameters."""
from datetime import date, datetime, timedelta, timezone

COLUMNS = ["address", "symbol", "name", "decimals", "total_supply", "block_timestamp", "block_number", "block_hash"]
SQL = (f"SELECT {', '.join(COLUMNS)} FROM `bigquery-public-data.crypto_ethereum.tokens` "
       "WHERE block_timestamp >= @low AND block_timestamp < @high")


def window(day):
    low = datetime.combine(date.fromisoformat(day), datetime.min.time(), timezone.utc)
    return {"low": low, "high": low + timedelta(days=1)}


def delete(cursor, table, day):
    cursor.execute(f"DELETE FROM {table} WHERE block_timestamp >= %(low)s AND block_timestamp < %(high)s", window(day))
