//! The stores answer the same commands alike.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use super::drive::{Sent, points};
use super::*;
use crate::wire::{Counted, Drawn};

const MEMBERS: u64 = 50;

fn drawn(seed: u64, caller: u64, commands: usize) -> Vec<Drawn> {
    let mut writer = commands_of(seed, caller, MEMBERS).unwrap();
    (0..commands).map(|_| writer.draw()).collect()
}

fn sum(commands: &[Drawn]) -> Sent {
    let (base, extra) = commands.iter().map(points).fold((0, 0), |(base, extra), (b, e)| (base + b, extra + e));
    Sent { commands: u64::try_from(commands.len()).unwrap(), base, extra }
}

#[test]
fn every_store_gets_the_same_commands_and_no_caller_those_of_another() {
    assert_eq!(drawn(7, 3, 200), drawn(7, 3, 200));
    let keys: BTreeSet<_> =
        [drawn(7, 3, 200), drawn(7, 4, 200), drawn(8, 3, 200)].concat().iter().map(|c| c.key).collect();
    assert_eq!(keys.len(), 600);
}

#[test]
fn what_is_not_installed_is_named_with_its_package() {
    let folder = tempfile::tempdir().unwrap();
    let folders = [folder.path().to_owned()];
    assert_eq!(Peer::Stampbook.missing(&folders), None);
    let told = Peer::Redis.missing(&folders).unwrap();
    assert!(told.contains("redis-server") && told.contains("package"), "{told}");
    std::fs::write(folder.path().join("initdb"), "").unwrap();
    let told = Peer::Postgres.missing(&folders).unwrap();
    assert!(told.contains("no postgres ") && told.contains("package postgresql"), "{told}");
    std::fs::write(folder.path().join("postgres"), "").unwrap();
    assert_eq!(Peer::Postgres.missing(&folders), None);
}

/// New commands in a batch and one by one, some sent again in both ways, one with another body: the books hold each once.
async fn keeps_account(mut store: impl Store) {
    let before = store.totals().await.unwrap();
    let mut callers = store.callers(2, 1).await.unwrap();
    let (mut one, mut other) = (callers.pop().unwrap(), callers.pop().unwrap());
    let commands = drawn(1, 0, 120);
    let (batch, single) = commands.split_at(100);
    let news = |answers: &[Counted]| answers.iter().filter(|answer| !answer.replayed).count();
    assert_eq!(news(&one.post(batch).await.unwrap()), 100);
    for command in single {
        assert_eq!(news(&other.post(std::slice::from_ref(command)).await.unwrap()), 1);
    }
    store.totals().await.unwrap().hold(&before, &sum(&commands)).unwrap();

    // Known keys alone, among new ones, and one by one; a key twice in a batch.
    assert_eq!(news(&other.post(batch).await.unwrap()), 0);
    assert_eq!(news(&one.post(&single[..1]).await.unwrap()), 0);
    let fresh = drawn(2, 0, 30);
    assert_eq!(news(&one.post(&[&commands[90..], &fresh[..]].concat()).await.unwrap()), 30);
    let twice = drawn(3, 0, 1);
    assert_eq!(news(&one.post(&[twice[0], twice[0]]).await.unwrap()), 1);
    let all = [commands.clone(), fresh, twice].concat();
    store.totals().await.unwrap().hold(&before, &sum(&all)).unwrap();

    // Another command under a known key does nothing.
    let taken = Drawn { amount: single[0].amount + 100, ..single[0] };
    assert!(one.post(&[taken]).await.is_err());
    store.totals().await.unwrap().hold(&before, &sum(&all)).unwrap();
}

/// Whether the store can be tried here; else says why not.
fn installed(peer: Peer) -> bool {
    let missing = peer.missing(&folders());
    if let Some(line) = &missing {
        eprintln!("not tried: {line}");
    }
    missing.is_none()
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_keeps_account_of_every_command_once() {
    if installed(Peer::Postgres) {
        keeps_account(Postgres::open(&folders(), MEMBERS).await.unwrap()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_keeps_account_of_every_command_once() {
    if installed(Peer::Redis) {
        keeps_account(Redis::open(&folders(), MEMBERS).await.unwrap()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_run_of_every_store_that_is_installed_loses_nothing() {
    let ground = Ground { stage: Stage::new(MEMBERS).unwrap(), folders: folders(), lasts: Duration::from_millis(200) };
    for peer in Peer::ALL.into_iter().filter(|peer| installed(*peer)) {
        for form in [FORMS[0], FORMS[2]] {
            let driven = ground.one(peer, form, 5).await.unwrap();
            assert!(driven.sent.commands > 0);
        }
    }
}
