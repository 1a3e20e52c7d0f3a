"""blocks, transactions and token_transfers of crypto_ethereum: a few days of made-up rows in the real schemas.

They fit each other and the sample's tokens: a transfer is of a token that exists, in a transaction that exists, in a
block that exists.  Hashes start like those made up for the sample, with "SYNTH".  Numbers are as they are in reality,
only fewer: a block every two hours instead of every 12 seconds.
"""
import hashlib

from tables import DAY_US, DENSE_LAST_DAY
from values import parse_timestamp

DATASET = "bigquery-public-data.crypto_ethereum."
DAYS = 5
BLOCKS_A_DAY = 12
SLOT_US = 12_000_000
# a block of the sample's last day, to count from
KNOWN_BLOCK, KNOWN_DAY = 19_423_380, "2024-03-08"


def field(name, kind, mode="NULLABLE", **more):
    return {"name": name, "type": kind, "mode": mode, **more}


def required(name, kind):
    return field(name, kind, "REQUIRED")


BLOCKS = [
    required("timestamp", "TIMESTAMP"),
    required("number", "INT64"),
    required("hash", "STRING"),
    field("parent_hash", "STRING"),
    required("nonce", "STRING"),
    field("sha3_uncles", "STRING"),
    field("logs_bloom", "STRING"),
    field("transactions_root", "STRING"),
    field("state_root", "STRING"),
    field("receipts_root", "STRING"),
    field("miner", "STRING"),
    field("difficulty", "NUMERIC"),
    field("total_difficulty", "NUMERIC"),
    field("size", "INT64"),
    field("extra_data", "STRING"),
    field("gas_limit", "INT64"),
    field("gas_used", "INT64"),
    field("transaction_count", "INT64"),
    field("base_fee_per_gas", "INT64"),
    field("withdrawals_root", "STRING"),
    field("withdrawals", "RECORD", "REPEATED", fields=[
        field("index", "INT64"), field("validator_index", "INT64"), field("address", "STRING"), field("amount", "STRING"),
    ]),
    field("blob_gas_used", "INT64"),
    field("excess_blob_gas", "INT64"),
]
TRANSACTIONS = [
    required("hash", "STRING"),
    required("nonce", "INT64"),
    required("transaction_index", "INT64"),
    required("from_address", "STRING"),
    field("to_address", "STRING"),
    field("value", "NUMERIC"),
    field("gas", "INT64"),
    field("gas_price", "INT64"),
    field("input", "STRING"),
    field("receipt_cumulative_gas_used", "INT64"),
    field("receipt_gas_used", "INT64"),
    field("receipt_contract_address", "STRING"),
    field("receipt_root", "STRING"),
    field("receipt_status", "INT64"),
    required("block_timestamp", "TIMESTAMP"),
    required("block_number", "INT64"),
    required("block_hash", "STRING"),
    field("max_fee_per_gas", "INT64"),
    field("max_priority_fee_per_gas", "INT64"),
    field("transaction_type", "INT64"),
    field("receipt_effective_gas_price", "INT64"),
    field("max_fee_per_blob_gas", "INT64"),
    field("blob_versioned_hashes", "STRING", "REPEATED"),
    field("receipt_blob_gas_price", "INT64"),
    field("receipt_blob_gas_used", "INT64"),
]
TRANSFERS = [
    required("token_address", "STRING"),
    field("from_address", "STRING"),
    field("to_address", "STRING"),
    field("value", "STRING"),
    required("transaction_hash", "STRING"),
    required("log_index", "INT64"),
    required("block_timestamp", "TIMESTAMP"),
    required("block_number", "INT64"),
    required("block_hash", "STRING"),
]

NOBODY = "0x" + "0" * 40
NO_UNCLES = "0x1dcc4de8dec75d7aab85b567b6ccd41ad312451b948a7413f0a142fd40d49347"
TOTAL_DIFFICULTY = 58750003716598352816469
GWEI = 10**9


def digits(*what):
    """64 hexadecimal digits that depend on nothing else."""
    return hashlib.sha256(repr(what).encode()).hexdigest()


def made_hash(*what):
    return "0x53594e5448" + digits(*what)[:54]


def address(*what):
    return "0x" + digits("address", *what)[:40]


def number(below, *what):
    return int(digits("number", *what), 16) % below


class Chain:
    """The rows of the days that end with last (a date)."""

    def __init__(self, tokens, last):
        self.blocks, self.transactions, self.transfers = [], [], []
        self.tokens = tokens
        end = parse_timestamp(last.isoformat()) + DAY_US
        # moved by whole days, like the sample
        self.moved = end - DAY_US - parse_timestamp(DENSE_LAST_DAY.isoformat())
        for day in range(-DAYS, 0):
            for place in range(BLOCKS_A_DAY):
                self.add_block(end + day * DAY_US + place * (DAY_US // BLOCKS_A_DAY) + 11_000_000)

    def add_block(self, at):
        slot = (at - self.moved - parse_timestamp(KNOWN_DAY)) // SLOT_US
        block = {"block_timestamp": at, "block_number": KNOWN_BLOCK + slot, "block_hash": made_hash("block", slot)}
        base_fee = 20 * GWEI + number(30 * GWEI, "fee", slot)
        used = 0
        count = 4 + number(4, "transactions", slot)
        for index in range(count):
            used += self.add_transaction(block, slot, index, base_fee, used)
        self.blocks.append({
            "timestamp": at,
            "number": block["block_number"],
            "hash": block["block_hash"],
            "parent_hash": made_hash("block", slot - 1),
            "nonce": "0x" + "0" * 16,
            "sha3_uncles": NO_UNCLES,
            "logs_bloom": "0x" + digits("bloom", slot) * 8,
            "transactions_root": "0x" + digits("transactions", slot),
            "state_root": "0x" + digits("state", slot),
            "receipts_root": "0x" + digits("receipts", slot),
            "miner": address("miner", slot % 7),
            "difficulty": "0",
            "total_difficulty": str(TOTAL_DIFFICULTY),
            "size": 600 + count * 250,
            "extra_data": "0x6265617665726275696c642e6f7267",
            "gas_limit": 30_000_000,
            "gas_used": used,
            "transaction_count": count,
            "base_fee_per_gas": base_fee,
            "withdrawals_root": "0x" + digits("withdrawals", slot),
            "withdrawals": [
                {"index": 30_000_000 + slot * 16 + place, "validator_index": 700_000 + place,
                 "address": address("validator", place), "amount": str(17_000_000 + number(2_000_000, slot, place))}
                for place in range(2)
            ],
            "blob_gas_used": None,
            "excess_blob_gas": None,
        })

    def add_transaction(self, block, slot, index, base_fee, used):
        """A transaction, and the transfer that most of them are; returns the gas it used."""
        sender, receiver = address("wallet", number(40, slot, index)), address("wallet", number(40, index, slot))
        tip = GWEI // 10 + number(2 * GWEI, "tip", slot, index)
        transfers = bool(self.tokens) and index % 4 != 0
        gas = 46_000 + number(20_000, "gas", slot, index) if transfers else 21_000
        fails = number(25, "fails", slot, index) == 0
        token = self.tokens[number(len(self.tokens), "token", slot, index)] if transfers else None
        amount = number(10**6, "amount", slot, index) * 10**16
        transaction = {
            "hash": made_hash("transaction", slot, index),
            "nonce": number(5000, "nonce", slot, index),
            "transaction_index": index,
            "from_address": sender,
            "to_address": token or receiver,
            "value": "0" if transfers else str(number(50 * 10**18, "wei", slot, index)),
            "gas": gas * 5 // 4,
            "gas_price": base_fee + tip,
            # transfer(address,uint256)
            "input": "0xa9059cbb" + receiver[2:].rjust(64, "0") + f"{amount:064x}" if transfers else "0x",
            "receipt_cumulative_gas_used": used + gas,
            "receipt_gas_used": gas,
            "receipt_status": 0 if fails else 1,
            "max_fee_per_gas": 2 * base_fee + tip,
            "max_priority_fee_per_gas": tip,
            "transaction_type": 2,
            "receipt_effective_gas_price": base_fee + tip,
            **block,
        }
        self.transactions.append(transaction)
        if transfers and not fails:
            self.transfers.append({
                "token_address": token,
                # a token that is made comes from nobody
                "from_address": NOBODY if number(30, "minted", slot, index) == 0 else sender,
                "to_address": receiver,
                "value": str(amount),
                "transaction_hash": transaction["hash"],
                "log_index": index * 3,
                **block,
            })
        return gas


def add_chain(catalog, tokens, last):
    """Create the three tables in the catalog, whose tokens table is given."""
    known = sorted({row[0] for row in tokens.rows() if len(row[0]) == 42 and row[1] and not row[0].startswith("0x00000000")})
    chain = Chain(known, last)
    for name, schema, rows in (("blocks", BLOCKS, chain.blocks), ("transactions", TRANSACTIONS, chain.transactions),
                               ("token_transfers", TRANSFERS, chain.transfers)):
        day = "timestamp" if name == "blocks" else "block_timestamp"
        table = catalog.create(DATASET + name, schema, partitioning={"type": "DAY", "field": day})
        table.add_json(rows)
