"""Recomputes every balance from the postings of a CSV export, and prints where the accounts say something else."""

import collections
import csv
import json
import pathlib
import sys

directory = pathlib.Path(sys.argv[1])


def rows(table):
    for path in sorted(directory.glob(f"{table}-*.csv")):
        with path.open(newline="", encoding="utf-8") as file:
            yield from csv.DictReader(file)


computed = collections.Counter()
for row in rows("postings"):
    computed[row["program"], row["account"], row["member"], row["asset"]] += int(row["credit"]) - int(row["debit"])

stated = {}
members = set()
for row in rows("accounts"):
    name = row["program"], row["account"], row["member"], row["asset"]
    assert name not in stated, name
    stated[name] = int(row["credit"]) - int(row["debit"])
    if row["member"]:
        members.add((row["program"], row["member"]))

differences = [list(name) for name in computed.keys() | stated.keys() if computed[name] != stated.get(name, 0)]
net = sum(balance for (_, account, _, _), balance in stated.items() if account.startswith("member/"))
print(json.dumps({"differences": sorted(differences), "members": len(members), "net": net}))
