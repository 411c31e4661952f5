//! PostgreSQL: a server of the Debian package on a port of its own, with one function call for each request.

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::process::Signal;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config, NoTls, Row, Statement};

use super::daemon::{Daemon, Home, User, find, free_address, password};
use super::drive::{APPLIED, Caller};
use super::totals::Totals;
use super::{Peer, Store};
use crate::Failure;
use crate::wire::{Counted, Drawn};

/// Tables and functions.
const SCHEMA: &str = include_str!("postgres.sql");
/// What differs from what a new cluster has. `fsync`, `synchronous_commit` and `full_page_writes` are on as they come, and said all the same.
pub(super) const SETTINGS: [(&str, &str); 10] = [
    ("fsync", "on"),
    ("synchronous_commit", "on"),
    ("full_page_writes", "on"),
    ("shared_buffers", "2GB"),
    ("wal_level", "minimal"),
    ("max_wal_senders", "0"),
    ("wal_buffers", "64MB"),
    ("max_wal_size", "8GB"),
    ("jit", "off"),
    ("listen_addresses", "127.0.0.1"),
];
/// What else is to be known of it.
pub(super) const HOW: &str = "read committed; one prepared call of a function a request, which locks the campaign's row last; \
    batches in order of members; fillfactor 80 and 10, so that balances change in place";
/// The cluster's administrator, whoever the system's user is.
const ADMINISTRATOR: &str = "postgres";
/// A call that met a deadlock, or a budget that was taken meanwhile, did nothing and is sent again, at most so often.
const TRIES: u32 = 5;
/// In the server's folder, until it has read it.
const PASSWORD_FILE: &str = "password";

/// Books of which PostgreSQL keeps account.
pub(super) struct Postgres {
    client: Client,
    door: Door,
    retries: Arc<AtomicU64>,
    _daemon: Daemon,
}

/// Where it listens, and what lets in.
struct Door {
    address: SocketAddr,
    password: String,
}

impl Postgres {
    /// A new cluster with so many members.
    pub(super) async fn open(folders: &[std::path::PathBuf], members: u64) -> Result<Self, Failure> {
        let (initdb, postgres) =
            (Peer::Postgres.program(folders, "initdb")?, Peer::Postgres.program(folders, "postgres")?);
        let home = Home::new(User::without_rights(&["postgres", "nobody"])?)?;
        let door = Door { address: free_address()?, password: password() };
        home.give(PASSWORD_FILE, &door.password)?;
        let file = format!("--pwfile={PASSWORD_FILE}");
        home.run(
            &initdb,
            ["-D", "data", "-U", ADMINISTRATOR, "--auth=scram-sha-256", &file, "--encoding=UTF8", "--locale=C"],
        )?;
        fs::remove_file(home.path().join(PASSWORD_FILE))?;
        let port = door.address.port().to_string();
        let mut arguments = ["-D", "data", "-k", "", "-p", &port].map(str::to_owned).to_vec();
        arguments.extend(SETTINGS.iter().flat_map(|(name, value)| ["-c".to_owned(), format!("{name}={value}")]));
        // SIGQUIT: at once, since the data go.
        let mut daemon = home.start(&postgres, arguments, Signal::QUIT)?;
        let client = daemon.connected(async || connect(&door).await).await?;
        client.batch_execute(SCHEMA).await?;
        let open = "insert into account (name, balance) \
            select 'member-' || lpad(number::text, 13, '0'), 0 from generate_series(0, $1::bigint - 1) number";
        client.execute(open, &[&i64::try_from(members)?]).await?;
        // What members leave to be written is not part of what is measured.
        client.batch_execute("vacuum analyze").await?;
        client.batch_execute("checkpoint").await?;
        Ok(Self { client, door, retries: Arc::default(), _daemon: daemon })
    }

    /// What `postgres --version` says.
    pub(super) fn version(folders: &[std::path::PathBuf]) -> Option<String> {
        super::said(&find(folders, "postgres")?, "--version")
    }
}

async fn connect(door: &Door) -> Result<Client, tokio_postgres::Error> {
    let mut config = Config::new();
    config.host(door.address.ip().to_string()).port(door.address.port()).password(&door.password);
    config.user(ADMINISTRATOR).dbname(ADMINISTRATOR);
    let (client, connection) = config.connect(NoTls).await?;
    // It ends with the client; what goes wrong is told to the callers.
    tokio::spawn(connection);
    Ok(client)
}

impl Store for Postgres {
    type Caller = PostgresCaller;

    async fn callers(&mut self, connections: u64, in_flight: u64) -> Result<Vec<PostgresCaller>, Failure> {
        let mut callers = Vec::new();
        for _ in 0..connections {
            let client = Arc::new(connect(&self.door).await?);
            let one = client.prepare("select awarded, balance, replayed from earn($1, $2, $3, $4)").await?;
            let batch = client.prepare("select awarded, balance, replayed from earn_batch($1, $2, $3, $4)").await?;
            for _ in 0..in_flight {
                let (client, retries) = (client.clone(), Arc::clone(&self.retries));
                callers.push(PostgresCaller { client, one: one.clone(), batch: batch.clone(), retries });
            }
        }
        Ok(callers)
    }

    fn retries(&self) -> u64 {
        self.retries.load(Ordering::Relaxed)
    }

    async fn totals(&mut self) -> Result<Totals, Failure> {
        let ask = "select (select count(*) from command), \
            (select coalesce(-sum(units), 0)::bigint from posting where account = 1), \
            (select coalesce(sum(units), 0)::bigint from posting where account > 2), \
            (select coalesce(sum(units), 0)::bigint from posting where account = 2), \
            (select sum(balance)::bigint from account where id > 2), (select balance from campaign where id = 2)";
        let row = self.client.query_one(ask, &[]).await?;
        let column = |at: usize| row.try_get::<_, i64>(at);
        let totals = Totals {
            commands: u64::try_from(column(0)?)?,
            issued: column(1)?,
            members: column(2)?,
            campaign: column(3)?,
        };
        let kept = (column(4)?, column(5)?);
        if kept != (totals.members, totals.campaign) {
            return Err(format!("PostgreSQL keeps balances of {kept:?} for postings of {totals:?}").into());
        }
        Ok(totals)
    }
}

/// See [`Caller`].
#[derive(Clone)]
pub(super) struct PostgresCaller {
    client: Arc<Client>,
    one: Statement,
    batch: Statement,
    retries: Arc<AtomicU64>,
}

impl PostgresCaller {
    async fn ask(&self, commands: &[Drawn]) -> Result<Row, tokio_postgres::Error> {
        let text = |bytes: &'_ [u8]| String::from_utf8_lossy(bytes).into_owned();
        if let [Drawn { key, member, amount, doubled }] = commands {
            let amount = i64::try_from(*amount).unwrap_or_default();
            return self.client.query_one(&self.one, &[&text(key), &text(member), &amount, doubled]).await;
        }
        let keys: Vec<_> = commands.iter().map(|command| text(&command.key)).collect();
        let members: Vec<_> = commands.iter().map(|command| text(&command.member)).collect();
        let amounts: Vec<_> =
            commands.iter().map(|command| i64::try_from(command.amount).unwrap_or_default()).collect();
        let doubled: Vec<_> = commands.iter().map(|command| command.doubled).collect();
        self.client.query_one(&self.batch, &[&keys, &members, &amounts, &doubled]).await
    }
}

/// Whether the call is to be sent again as it is.
fn did_nothing(error: &tokio_postgres::Error) -> bool {
    [&SqlState::T_R_DEADLOCK_DETECTED, &SqlState::T_R_SERIALIZATION_FAILURE]
        .into_iter()
        .any(|code| error.code() == Some(code))
}

impl Caller for PostgresCaller {
    async fn post(&mut self, commands: &[Drawn]) -> Result<Vec<Counted>, Failure> {
        let mut tries = 1;
        let row = loop {
            match self.ask(commands).await {
                Err(error) if did_nothing(&error) && tries < TRIES => {
                    tries += 1;
                    self.retries.fetch_add(1, Ordering::Relaxed);
                }
                answer => break answer?,
            }
        };
        let (awarded, replayed) = if commands.len() == 1 {
            (vec![row.try_get::<_, Option<i64>>(0)?], vec![row.try_get::<_, bool>(2)?])
        } else {
            (row.try_get(0)?, row.try_get(2)?)
        };
        if awarded.contains(&None) {
            return Err("a key was used for another command".into());
        }
        Ok(replayed.into_iter().map(|replayed| Counted { replayed, ..APPLIED }).collect())
    }
}
