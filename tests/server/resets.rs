//! Calls that a client ends before the server has looked at them, as it does where they all reach their deadline at once.

use stampbook::constants::REQUESTS_PER_CONNECTION_MAX;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::house::House;

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GO_AWAY: u8 = 7;
const END_HEADERS: u8 = 4;
const ACK: u8 = 1;
const CANCEL: [u8; 4] = [0, 0, 0, 8];

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// POST, http, and a path and an authority as literals.
fn headers() -> Vec<u8> {
    let literal = |name: u8, value: &str| [&[name, u8::try_from(value.len()).unwrap()], value.as_bytes()].concat();
    [vec![0x83, 0x86], literal(4, "/stampbook.v1.LedgerService/Post"), literal(1, "localhost")].concat()
}

/// Whether so many calls that are begun and ended in one go leave the connection open.
async fn stays_open(house: &House, calls: u32) -> bool {
    let mut connection = TcpStream::connect(house.address).await.unwrap();
    let mut sent = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), frame(SETTINGS, 0, 0, &[])].concat();
    for stream in (1..).step_by(2).take(usize::try_from(calls).unwrap()) {
        sent.extend(frame(HEADERS, END_HEADERS, stream, &headers()));
        sent.extend(frame(RST_STREAM, 0, stream, &CANCEL));
    }
    sent.extend(frame(PING, 0, 0, &[7; 8]));
    connection.write_all(&sent).await.unwrap();
    loop {
        let mut head = [0; 9];
        if connection.read_exact(&mut head).await.is_err() {
            return false;
        }
        let [a, b, c, kind, flags, ..] = head;
        let mut payload = vec![0; usize::try_from(u32::from_be_bytes([0, a, b, c])).unwrap()];
        connection.read_exact(&mut payload).await.unwrap();
        match kind {
            GO_AWAY => return false,
            PING if flags == ACK => return true,
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_may_end_all_of_its_calls_at_once_and_keeps_its_connection() {
    let house = House::furnished().await;
    assert!(stays_open(&house, REQUESTS_PER_CONNECTION_MAX).await);
    house.close().await;
}
