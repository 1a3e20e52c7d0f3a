"""Put DuckDB extensions that came as wheels where DuckDB looks ($HOME/.duckdb).

Without this the emulator would try to download them when it starts.
"""
import glob
import importlib
import os
import sys

import duckdb

for name in sys.argv[1:]:
    module = importlib.import_module("duckdb_extension_" + name)
    folder = os.path.join(os.path.dirname(module.__file__), "extensions")
    path = glob.glob(os.path.join(folder, "*", name + ".duckdb_extension"))[0]
    duckdb.sql(f"INSTALL '{path}'")
    duckdb.sql(f"LOAD {name}")
