//! A caller in another language. Runs where Python has the packages of `tests/python/requirements.txt`; the interpreter can be
//! named in `PYTHON`, and then it must have them.

use std::env;
use std::process::Command;

const NEEDS: &str = "import blake3, grpc, grpc_tools, google.rpc.error_details_pb2";

#[test]
fn a_python_client_works_from_the_protos_alone() {
    let named = env::var_os("PYTHON");
    let python = named.clone().unwrap_or_else(|| "python3".into());
    let ready = Command::new(&python).args(["-c", NEEDS]).output().is_ok_and(|output| output.status.success());
    if !ready {
        assert!(named.is_none(), "the interpreter in PYTHON lacks packages of tests/python/requirements.txt");
        eprintln!("skipped: python3 lacks packages of tests/python/requirements.txt");
        return;
    }
    let test = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python/contract_test.py");
    let status = Command::new(python)
        .arg(test)
        .env("STAMPBOOK_BIN", env!("CARGO_BIN_EXE_stampbook"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .status();
    assert!(status.is_ok_and(|status| status.success()), "the client test failed; its output is above");
}
