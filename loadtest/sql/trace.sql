-- Where every point is at the end of `loadtest trace`, made from nothing but its export: the same table, or an error where it does
-- not balance or the export contradicts itself.
--
--   loadtest trace loadtest/data/online-retail-ii.csv --export DIR
--   cd DIR && python3 -c "import duckdb; print(duckdb.sql(open('PATH/TO/loadtest/sql/trace.sql').read()))"
--
-- (pip install duckdb, 1.1 or newer; or `duckdb < trace.sql` in the folder of the export.)

create temp table moved as
    select kind, account, member, lot_source, lot_lapses_at, credit - debit as units
    from 'postings-*.parquet' where asset = 'points';

create temp table stands as
    select account, sum(credit - debit) as units
    from 'accounts-*.parquet' where asset = 'points' group by account;

-- What is left in each lot, by its own postings, and whether it had lapsed when the book ended.
create temp table lots as
    select member, lot_source, lot_lapses_at, sum(units) as units,
        coalesce(lot_lapses_at <= (select max(book_time) from 'events-*.parquet'), false) as is_over
    from moved where account = 'member/available' group by member, lot_source, lot_lapses_at;

create temp table figures as
    select
        -(select sum(units) from moved where kind = 'earn' and account = 'issuance') as issued,
        -(select sum(units) from moved where account = 'member/debt') as owed,
        (select sum(units) from lots where not is_over) as spendable,
        (select sum(units) from moved where account like 'redemption/%') as spent,
        (select sum(units) from moved where account = 'breakage') as lapsed,
        (select sum(units) from moved where kind = 'refund' and account = 'issuance') as taken_back;

create temp table shown as
    select unnest(['issued', 'owed by members', 'to account for', 'spendable', 'spent', 'lapsed', 'taken back', 'accounted for']) as what,
        unnest([issued, owed, issued + owed, spendable, spent, lapsed, taken_back, spendable + spent + lapsed + taken_back]) as units
    from (select coalesce(columns(*), 0)::bigint from figures);

select case
    when (select count(*) from lots where units < 0) > 0 then error('a lot gave more than it had')
    when (select count(*) from lots where is_over and units <> 0) > 0 then error('a lot that is over still has units')
    when (select count(*) from (select account, sum(units) as units from moved group by account) as sums full join stands using (account)
        where coalesce(sums.units, 0) <> coalesce(stands.units, 0)) > 0 then error('an account is not the sum of its postings')
    when (select count(distinct units) from shown where what in ('to account for', 'accounted for')) <> 1 then error('it does not balance')
    end as sound;

select what, units from shown;
