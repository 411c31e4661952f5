-- What Stampbook does with an earn, in PostgreSQL: commands under keys that are unique, postings that sum to zero, balances kept.
-- It has no index but those that the commands themselves need, and keeps no balance for `issuance`, which nothing bounds: each would cost it.

create table account (
    id bigint generated always as identity primary key,
    name text not null unique,
    balance bigint not null
) with (fillfactor = 80);

-- Apart from the members, so that the versions of a row that half of all commands update have a page of their own.
create table campaign (
    id bigint primary key references account,
    balance bigint not null check (balance >= 0)
) with (fillfactor = 10);

-- A command, and what it answered first.
create table command (
    op bigint generated always as identity,
    key text primary key,
    account bigint not null,
    amount bigint not null,
    doubled boolean not null,
    awarded bigint not null,
    balance bigint not null
);

-- The legs of a command; credits are positive.
create table posting (
    op bigint not null,
    account bigint not null,
    units bigint not null
);

insert into account (name, balance) values ('issuance', 0), ('campaign/double-points', 0);
insert into campaign (id, balance) values (2, 1000000000000);
insert into posting (op, account, units) values (0, 1, -1000000000000), (0, 2, 1000000000000);

-- One command in one call. A known key answers what it answered first, or nothing where the command was another one. Where two calls with one key
-- run at once, the second one fails with unique_violation; sent again, it finds the key. The campaign's row, which half of all commands update, is
-- locked last, so that others wait for it as briefly as can be: for the sync of the commit and no more. Where the budget, which is looked at
-- before, was taken meanwhile, the call fails with serialization_failure; sent again, it sees what is left.
create function earn(k text, m text, spent bigint, twice boolean, out awarded bigint, out balance bigint, out replayed boolean)
language plpgsql as $$
#variable_conflict use_column
declare
    known record;
    base bigint := spent / 100;
    extra bigint := 0;
    who bigint;
    number bigint;
begin
    select c.*, a.name into known from command c join account a on a.id = c.account where c.key = k;
    if found then
        replayed := true;
        if (known.name, known.amount, known.doubled) = (m, spent, twice) then
            awarded := known.awarded;
            balance := known.balance;
        end if;
        return;
    end if;
    replayed := false;
    if twice then
        select least(base, c.balance) into extra from campaign c where c.id = 2;
    end if;
    awarded := base + extra;
    update account set balance = balance + base + extra where name = m returning id, account.balance into who, balance;
    if not found then
        insert into account as a (name, balance) values (m, base + extra)
            on conflict (name) do update set balance = a.balance + excluded.balance
            returning a.id, a.balance into who, balance;
    end if;
    insert into command (key, account, amount, doubled, awarded, balance)
        values (k, who, spent, twice, earn.awarded, earn.balance) returning op into number;
    if extra = 0 then
        insert into posting (op, account, units) values (number, 1, -base), (number, who, base);
        return;
    end if;
    insert into posting (op, account, units) values (number, 1, -base), (number, who, base + extra), (number, 2, -extra);
    update campaign set balance = balance - extra where id = 2 and balance >= extra;
    if not found then
        raise serialization_failure;
    end if;
end
$$;

-- Many commands in one call. As a rule every key is new, every member known and the budget enough: then it is one statement over sets, each
-- member's row updated once and the campaign's once, last of all, so that other batches wait for it as briefly as can be. Members are taken in
-- the order of their names, so that batches do not wait for each other in a ring. Where the rule does not hold, it is one command after another.
create function earn_batch(keys text[], members text[], amounts bigint[], doubles boolean[],
    out awarded bigint[], out balance bigint[], out replayed boolean[])
language plpgsql as $$
#variable_conflict use_column
declare
    one record;
    total bigint;
begin
    begin
        with given as materialized (
            select g.*, g.amount / 100 as base, case when g.doubled then g.amount / 100 else 0 end as extra
            from unnest(keys, members, amounts, doubles) with ordinality as g (key, member, amount, doubled, ord)
        ), sums as materialized (
            select member, sum(base + extra)::bigint as units from given group by member order by member
        ), moved as (
            update account a set balance = a.balance + s.units from sums s where a.name = s.member
            returning a.id, a.name, a.balance - s.units as before
        ), receipts as materialized (
            select g.*, m.id as account, g.base + g.extra as awarded,
                (m.before + sum(g.base + g.extra) over (partition by g.member order by g.ord))::bigint as balance
            from given g join moved m on m.name = g.member
        ), posted as (
            insert into command (key, account, amount, doubled, awarded, balance)
            select key, account, amount, doubled, awarded, balance from receipts order by ord
            returning op, account, awarded, amount / 100 as base
        ), legs as (
            insert into posting (op, account, units)
            select op, 1, -base from posted
            union all select op, account, awarded from posted
            union all select op, 2, base - awarded from posted where awarded > base
        )
        select array_agg(awarded order by ord), array_agg(balance order by ord),
            array_agg(false), sum(extra)
        into awarded, balance, replayed, total from receipts;
        if coalesce(cardinality(awarded), 0) <> cardinality(keys) then
            raise no_data_found;
        end if;
        update campaign set balance = balance - total where id = 2 and balance >= total;
        if not found then
            raise no_data_found;
        end if;
    exception when unique_violation or no_data_found then
        awarded := '{}';
        balance := '{}';
        replayed := '{}';
        for at in 1 .. cardinality(keys) loop
            select * into one from earn(keys[at], members[at], amounts[at], doubles[at]);
            awarded := awarded || one.awarded;
            balance := balance || one.balance;
            replayed := replayed || one.replayed;
        end loop;
    end;
end
$$;
