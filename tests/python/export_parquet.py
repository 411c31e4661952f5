"""Reads the Parquet files of an export with DuckDB, holds them to the manifest, and prints what the accounts stand at."""

import json
import pathlib
import sys

import duckdb

directory = pathlib.Path(sys.argv[1])
manifest = json.loads((directory / "manifest.json").read_text())
base = duckdb.connect()
for table in manifest["tables"]:
    name = table["table"]
    base.execute(f"create view {name} as select * from read_parquet('{directory}/{name}-*.parquet')")
    rows = base.execute(f"select count(*) from {name}").fetchone()[0]
    assert rows == table["rows"], (name, rows, table["rows"])
    types = {row[0]: row[1] for row in base.execute(f"describe {name}").fetchall()}
    expected = {"integer": "BIGINT", "time": "TIMESTAMP WITH TIME ZONE", "text": "VARCHAR"}
    for column in table["columns"]:
        assert types[column["name"]] == expected[column["type"]], (name, column, types[column["name"]])

for total in manifest["totals"]:
    for table in ("postings", "accounts"):
        found = base.execute(
            f"select sum(debit)::hugeint, sum(credit)::hugeint from {table} where program = ? and asset = ?",
            [total["program"], total["asset"]],
        ).fetchone()
        assert found == (total[f"{table}_debit"], total[f"{table}_credit"]), (table, total, found)

unbalanced = base.execute("select op from postings group by op, asset having sum(credit) <> sum(debit)").fetchall()
assert unbalanced == [], unbalanced
stray = base.execute("select op from postings anti join events using (op)").fetchall()
assert stray == [], stray
span = base.execute("select min(op), max(op), count(distinct op) from events").fetchone()
first, last = manifest["export"]["from_op"], manifest["export"]["origin"]["to_op"]
assert span == (first, last, last - first + 1), span


def balances(table):
    rows = base.execute(f"select account, (sum(credit) - sum(debit))::bigint from {table} group by account").fetchall()
    return dict(rows)


print(json.dumps({"accounts": balances("accounts"), "postings": balances("postings")}))
