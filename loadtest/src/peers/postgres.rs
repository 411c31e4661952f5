//! PostgreSQL: a server of the Debian package on a socket of its own, with one function call for each request.

use std::path::Path;

use rustix::process::Signal;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config, NoTls, Row, Statement};

use super::daemon::{Daemon, Home, User, find};
use super::drive::{APPLIED, Caller};
use super::totals::Totals;
use super::{Peer, Store};
use crate::Failure;
use crate::wire::{Counted, Drawn};

/// Tables and functions.
const SCHEMA: &str = include_str!("postgres.sql");
/// What differs from what a new cluster has. `fsync`, `synchronous_commit` and `full_page_writes` are on as they come, and said all the same.
pub(super) const SETTINGS: [(&str, &str); 11] = [
    ("fsync", "on"),
    ("synchronous_commit", "on"),
    ("full_page_writes", "on"),
    ("shared_buffers", "2GB"),
    ("wal_level", "minimal"),
    ("max_wal_senders", "0"),
    ("wal_buffers", "64MB"),
    ("max_wal_size", "8GB"),
    ("jit", "off"),
    ("listen_addresses", ""),
    ("unix_socket_permissions", "0700"),
];
/// The cluster's administrator, whoever the system's user is.
const ADMINISTRATOR: &str = "postgres";
/// A call that met a deadlock did nothing and is sent again, at most so often.
const TRIES: u32 = 5;

/// Books of which PostgreSQL keeps account.
pub(super) struct Postgres {
    client: Client,
    daemon: Daemon,
}

impl Postgres {
    /// A new cluster with so many members.
    pub(super) async fn open(folders: &[std::path::PathBuf], members: u64) -> Result<Self, Failure> {
        let (initdb, postgres) =
            (Peer::Postgres.program(folders, "initdb")?, Peer::Postgres.program(folders, "postgres")?);
        let home = Home::new(User::without_rights(&["postgres", "nobody"])?)?;
        home.run(&initdb, ["-D", "data", "-U", ADMINISTRATOR, "--auth=trust", "--encoding=UTF8", "--locale=C"])?;
        let mut arguments =
            vec!["-D".to_owned(), "data".to_owned(), "-k".to_owned(), home.path().display().to_string()];
        arguments.extend(SETTINGS.iter().flat_map(|(name, value)| ["-c".to_owned(), format!("{name}={value}")]));
        // SIGQUIT: at once, since the data go.
        let mut daemon = home.start(&postgres, arguments, Signal::QUIT)?;
        let folder = daemon.path().to_owned();
        let client = daemon.connected(async || connect(&folder).await).await?;
        client.batch_execute(SCHEMA).await?;
        let open = "insert into account (name, balance) \
            select 'member-' || lpad(number::text, 13, '0'), 0 from generate_series(0, $1::bigint - 1) number";
        client.execute(open, &[&i64::try_from(members)?]).await?;
        // What members leave to be written is not part of what is measured.
        client.batch_execute("vacuum analyze").await?;
        client.batch_execute("checkpoint").await?;
        Ok(Self { client, daemon })
    }

    /// What `postgres --version` says.
    pub(super) fn version(folders: &[std::path::PathBuf]) -> Option<String> {
        super::said(&find(folders, "postgres")?, "--version")
    }
}

async fn connect(folder: &Path) -> Result<Client, tokio_postgres::Error> {
    let mut config = Config::new();
    config.host_path(folder).user(ADMINISTRATOR).dbname(ADMINISTRATOR);
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
            let client = std::sync::Arc::new(connect(self.daemon.path()).await?);
            let one = client.prepare("select awarded, balance, replayed from earn($1, $2, $3, $4)").await?;
            let batch = client.prepare("select awarded, balance, replayed from earn_batch($1, $2, $3, $4)").await?;
            for _ in 0..in_flight {
                callers.push(PostgresCaller { client: client.clone(), one: one.clone(), batch: batch.clone() });
            }
        }
        Ok(callers)
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
    client: std::sync::Arc<Client>,
    one: Statement,
    batch: Statement,
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

impl Caller for PostgresCaller {
    async fn post(&mut self, commands: &[Drawn]) -> Result<Vec<Counted>, Failure> {
        let mut tries = 1;
        let row = loop {
            match self.ask(commands).await {
                Err(error) if error.code() == Some(&SqlState::T_R_DEADLOCK_DETECTED) && tries < TRIES => tries += 1,
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
