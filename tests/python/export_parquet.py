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
differing = base.execute("""
    with owned as (
        select program, member, asset, 'member/available' as account, units - held as units from lots
        union all select program, member, asset, 'member/held', held from lots
        union all select program, member, asset, 'member/pending', units from pending
        union all select program, member, asset, account, debit - credit from accounts
            where account in ('member/available', 'member/held', 'member/pending')
    )
    select program, member, asset, account from owned group by all having sum(units) <> 0
""").fetchall()
assert differing == [], differing
pinned = base.execute("""
    with pinned as (
        select program, member, asset, source, lapses_at, rolling, held as units from lots
        union all select program, member, asset, lot_source, lot_lapses_at, lot_rolling, -units from holds
    )
    select * exclude units from pinned group by all having sum(units) <> 0
""").fetchall()
assert pinned == [], pinned


def balances(table):
    rows = base.execute(f"select account, (sum(credit) - sum(debit))::bigint from {table} group by account").fetchall()
    return dict(rows)


print(json.dumps({"accounts": balances("accounts"), "postings": balances("postings")}))
