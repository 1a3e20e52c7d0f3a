#!/usr/bin/env python3
"""blocks, transactions and token_transfers: their days, and that they fit each other and the sample."""
import unittest
from datetime import date

from chain import BLOCKS_A_DAY, DATASET, DAYS, add_chain
from server import SAMPLE
from tables import TOKENS_NAME, Catalog, load_csv


class ChainTest(unittest.TestCase):
    def tables(self, ends):
        catalog = Catalog()
        tokens = catalog.create(TOKENS_NAME)
        add_chain(catalog, tokens, load_csv(tokens, SAMPLE, dense_ends=ends))
        return [self.objects(catalog.get(name)) for name in
                (TOKENS_NAME, DATASET + "blocks", DATASET + "transactions", DATASET + "token_transfers")]

    def objects(self, table):
        return [dict(zip((field["name"] for field in table.fields), row)) for row in table.rows()]

    def test_days(self):
        for ends in ("2026-11-20", "2024-03-07"):
            _, blocks, transactions, transfers = self.tables(ends)
            days = [date.fromisoformat("1970-01-01").toordinal() + block["timestamp"] // 86_400_000_000 for block in blocks]
            last = date.fromisoformat(ends).toordinal()
            self.assertEqual(sorted(set(days)), list(range(last - DAYS + 1, last + 1)))
            self.assertEqual(len(blocks), DAYS * BLOCKS_A_DAY)
            self.assertTrue(len(transactions) > len(transfers) > 100)

    def test_same_rows_whatever_the_day(self):
        one, other = self.tables("2026-11-20"), self.tables("2025-01-01")
        for before, after in zip(one[1:], other[1:]):
            self.assertEqual([row["block_hash"] if "block_hash" in row else row["hash"] for row in before],
                             [row["block_hash"] if "block_hash" in row else row["hash"] for row in after])

    def test_joins(self):
        tokens, blocks, transactions, transfers = self.tables("2026-11-20")
        by_hash = {block["hash"]: block for block in blocks}
        for row in transactions + transfers:
            block = by_hash[row["block_hash"]]
            self.assertEqual((row["block_number"], row["block_timestamp"]), (block["number"], block["timestamp"]))
        for block in blocks:
            mine = [row for row in transactions if row["block_hash"] == block["hash"]]
            self.assertEqual(len(mine), block["transaction_count"])
            self.assertEqual(sum(row["receipt_gas_used"] for row in mine), block["gas_used"])
        self.assertEqual(len({row["hash"] for row in transactions}), len(transactions))
        known = {row["address"] for row in tokens}
        paid = {row["hash"]: row for row in transactions if row["receipt_status"] == 1}
        for row in transfers:
            self.assertIn(row["token_address"], known)
            self.assertEqual(paid[row["transaction_hash"]]["to_address"], row["token_address"])


if __name__ == "__main__":
    unittest.main()
