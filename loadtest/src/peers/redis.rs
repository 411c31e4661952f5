//! Redis: a server of the Debian package on a port of its own, with one script call for each command, every write synced.

use std::path::PathBuf;

use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, Pipeline, RedisConnectionInfo,
};
use rustix::process::Signal;

use super::daemon::{Daemon, Home, START_PATIENCE, find, free_address, password};
use super::drive::{APPLIED, Caller};
use super::totals::Totals;
use super::{Peer, Store};
use crate::Failure;
use crate::run::BUDGET;
use crate::wire::{Counted, Drawn, member_id};

const SCRIPT: &str = include_str!("redis.lua");
/// Every write is synced before it is answered.
pub(super) const SETTINGS: [(&str, &str); 4] =
    [("appendonly", "yes"), ("appendfsync", "always"), ("save", ""), ("bind", "127.0.0.1")];
/// What else is to be known of it.
pub(super) const HOW: &str = "one Lua script a command, pipelined where batched";
/// In the server's folder: what it is not told on its command line, which everybody can read.
const CONFIG_FILE: &str = "redis.conf";
/// Members that one request opens or reads.
const MEMBERS_A_REQUEST: u64 = 10_000;

/// Books of which Redis keeps account.
pub(super) struct Redis {
    connection: MultiplexedConnection,
    script: String,
    members: u64,
    door: ConnectionInfo,
    _daemon: Daemon,
}

impl Redis {
    /// A new server with so many members.
    pub(super) async fn open(folders: &[PathBuf], members: u64) -> Result<Self, Failure> {
        let server = Peer::Redis.program(folders, "redis-server")?;
        let home = Home::new(None)?;
        let (address, password) = (free_address()?, password());
        home.give(CONFIG_FILE, &format!("requirepass {password}\nport {}\n", address.port()))?;
        let door = ConnectionAddr::Tcp(address.ip().to_string(), address.port()).into_connection_info()?;
        let door = door.set_tcp_settings(TcpSettings::default().set_nodelay(true));
        let door = door.set_redis_settings(RedisConnectionInfo::default().set_password(password));
        let mut arguments = vec![CONFIG_FILE.to_owned()];
        arguments.extend(SETTINGS.iter().flat_map(|(name, value)| [format!("--{name}"), (*value).to_owned()]));
        let mut daemon = home.start(&server, arguments, Signal::TERM)?;
        let mut connection = daemon.connected(async || connect(&door).await).await?;
        let script = redis::cmd("SCRIPT").arg("LOAD").arg(SCRIPT).query_async(&mut connection).await?;
        redis::cmd("MSET").arg("issued").arg(BUDGET).arg("campaign").arg(BUDGET).exec_async(&mut connection).await?;
        for keys in members_in_requests(members) {
            let mut open = redis::cmd("MSET");
            keys.iter().for_each(|key| {
                open.arg(key.as_slice()).arg(0);
            });
            open.exec_async(&mut connection).await?;
        }
        Ok(Self { connection, script, members, door, _daemon: daemon })
    }

    /// What `redis-server --version` says.
    pub(super) fn version(folders: &[PathBuf]) -> Option<String> {
        super::said(&find(folders, "redis-server")?, "--version")
    }
}

async fn connect(door: &ConnectionInfo) -> redis::RedisResult<MultiplexedConnection> {
    let config = AsyncConnectionConfig::new().set_response_timeout(Some(START_PATIENCE));
    let client = Client::open(door.clone())?;
    let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
    // While it loads it refuses.
    redis::cmd("PING").exec_async(&mut connection).await?;
    Ok(connection)
}

fn read(keys: &[[u8; 20]]) -> redis::Cmd {
    let mut read = redis::cmd("MGET");
    keys.iter().for_each(|key| {
        read.arg(key.as_slice());
    });
    read
}

fn members_in_requests(members: u64) -> impl Iterator<Item = Vec<[u8; 20]>> {
    let step = usize::try_from(MEMBERS_A_REQUEST).unwrap_or(usize::MAX);
    (0..members)
        .step_by(step)
        .map(move |first| (first..members.min(first + MEMBERS_A_REQUEST)).map(member_id).collect())
}

impl Store for Redis {
    type Caller = RedisCaller;

    async fn callers(&mut self, connections: u64, in_flight: u64) -> Result<Vec<RedisCaller>, Failure> {
        let mut callers = Vec::new();
        for _ in 0..connections {
            let connection = connect(&self.door).await?;
            for _ in 0..in_flight {
                callers.push(RedisCaller { connection: connection.clone(), script: self.script.clone() });
            }
        }
        Ok(callers)
    }

    async fn totals(&mut self) -> Result<Totals, Failure> {
        let (keys, issued, campaign): (u64, i64, i64) = redis::pipe()
            .cmd("DBSIZE")
            .cmd("GET")
            .arg("issued")
            .cmd("GET")
            .arg("campaign")
            .query_async(&mut self.connection)
            .await?;
        let mut sum = 0;
        for keys in members_in_requests(self.members) {
            let balances: Vec<i64> = read(&keys).query_async(&mut self.connection).await?;
            sum += balances.iter().sum::<i64>();
        }
        let others = self.members + 2;
        let commands = keys.checked_sub(others).ok_or("Redis lost members")?;
        Ok(Totals { commands, issued, members: sum, campaign })
    }
}

/// See [`Caller`].
pub(super) struct RedisCaller {
    connection: MultiplexedConnection,
    script: String,
}

impl Caller for RedisCaller {
    async fn post(&mut self, commands: &[Drawn]) -> Result<Vec<Counted>, Failure> {
        let mut pipeline = Pipeline::with_capacity(commands.len());
        for Drawn { key, member, amount, doubled } in commands {
            let key = [b"command-".as_slice(), key].concat();
            let call = pipeline.cmd("EVALSHA").arg(&self.script).arg(2).arg(key).arg(member.as_slice());
            call.arg(*amount).arg(u8::from(*doubled)).arg(member.as_slice());
        }
        let answers: Vec<Vec<i64>> = pipeline.query_async(&mut self.connection).await?;
        let counted = answers.iter().map(|answer| match answer.as_slice() {
            [_awarded, _balance, replayed] => Ok(Counted { replayed: *replayed == 1, ..APPLIED }),
            _ => Err("a key was used for another command".into()),
        });
        counted.collect()
    }
}
