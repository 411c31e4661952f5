"""Stubs from the protos, a server to talk to, and errors taken apart."""

import importlib
import os
import pathlib
import signal
import subprocess
import sys
import tempfile

import grpc
from google.rpc import error_details_pb2, status_pb2
from grpc_tools import protoc

HERE = pathlib.Path(__file__).resolve().parent
PROTOS = HERE.parent.parent / "proto"
FIXTURES = HERE.parent / "fixtures"
NAMES = ("common", "ledger", "account", "admin", "audit")


def _generate():
    """Generates the stubs and makes them importable, as any caller would from the protos alone. They go when the process ends."""
    stubs = tempfile.TemporaryDirectory(prefix="stampbook-stubs-")
    folder = stubs.name
    arguments = ["protoc", f"-I{PROTOS}", f"--python_out={folder}", f"--grpc_python_out={folder}"]
    if protoc.main(arguments + [f"stampbook/v1/{name}.proto" for name in NAMES]) != 0:
        raise RuntimeError("protoc failed")
    sys.path.insert(0, folder)
    return stubs


_stubs = _generate()
common, ledger, account, admin, audit = (importlib.import_module(f"stampbook.v1.{name}_pb2") for name in NAMES)
_ledger_grpc, _account_grpc, _admin_grpc, _audit_grpc = (
    importlib.import_module(f"stampbook.v1.{name}_pb2_grpc") for name in NAMES if name != "common"
)

PROGRAM = """\
id = "club"
name = "Club"
currency = "GBP"
time_zone = "Europe/London"
mode = "import"

[[rules]]
kind = "purchase"
points = 10
per_minor = 100

[[campaigns]]
id = "double-night"
start = "2000-01-01T00:00:00"
end = "2100-01-01T00:00:00"
kinds = ["purchase"]
multiplier = "2"
on_exhausted = "clip"
"""


class Server:
    """`stampbook serve` as a child process."""

    def __init__(self, data, config=None):
        self.data = data
        self.config = config
        self.start()

    def start(self):
        command = [os.environ["STAMPBOOK_BIN"], "serve", "--data", str(self.data), "--listen", "127.0.0.1:0"]
        if self.config is not None:
            path = pathlib.Path(self.data).with_suffix(".toml")
            path.write_text(self.config)
            command += ["--config", str(path)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        prefix = "listening on "
        if not line.startswith(prefix):
            raise RuntimeError(f"the server said {line!r} and ended with {self.process.wait()}")
        self.address = line[len(prefix) :].strip()
        options = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
        self.channel = grpc.insecure_channel(self.address, options=options)
        self.ledger = _ledger_grpc.LedgerServiceStub(self.channel)
        self.account = _account_grpc.AccountServiceStub(self.channel)
        self.admin = _admin_grpc.AdminServiceStub(self.channel)
        self.audit = _audit_grpc.AuditServiceStub(self.channel)

    def _ended(self):
        code = self.process.wait(timeout=10)
        self.process.stdout.close()
        self.channel.close()
        return code

    def kill(self):
        self.process.kill()
        self._ended()

    def stop(self):
        """SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self._ended()

    def close(self):
        if self.process.poll() is None:
            self.kill()

    def put_program(self, definition=PROGRAM, program="club", expected=0, key="program-1"):
        return self.admin.PutProgram(
            admin.PutProgramRequest(
                program=program, definition=definition, expected_version=expected, key=key, actor="anna", reason="opening"
            )
        )

    def fund(self, points, key, program="club", campaign="double-night"):
        return self.admin.FundCampaign(
            admin.FundCampaignRequest(
                program=program, campaign=campaign, points=points, key=key, actor="anna", reason="budget"
            )
        )

    def post(self, command):
        """One command by `Post`."""
        return self.ledger.Post(ledger.PostRequest(command=command), timeout=30).receipt

    def post_batch(self, commands, atomic=False):
        request = ledger.PostBatchRequest(items=commands, atomic=atomic)
        return list(self.ledger.PostBatch(request, timeout=30).receipts)

    def post_stream(self, messages):
        """Messages of commands by `PostStream`; all receipts, after the sending side is closed."""
        requests = iter([ledger.PostStreamRequest(items=commands) for commands in messages])
        return [receipt for response in self.ledger.PostStream(requests, timeout=30) for receipt in response.receipts]


class Refused:
    """What a failed call says, taken apart."""

    def __init__(self, error):
        self.code = error.code()
        self.message = error.details()
        self.info = self.bad_request = self.retry = None
        packed = dict(error.trailing_metadata() or ()).get("grpc-status-details-bin")
        if packed is None:
            return
        for detail in status_pb2.Status.FromString(packed).details:
            for name, kind in (
                ("info", error_details_pb2.ErrorInfo),
                ("bad_request", error_details_pb2.BadRequest),
                ("retry", error_details_pb2.RetryInfo),
            ):
                if detail.Is(kind.DESCRIPTOR):
                    found = kind()
                    detail.Unpack(found)
                    setattr(self, name, found)

    @property
    def reason(self):
        return self.info and self.info.reason

    @property
    def fields(self):
        return [violation.field for violation in self.bad_request.field_violations] if self.bad_request else []


def message(name):
    """An empty operator's request by the name of its type."""
    [module] = [module for module in (admin, audit) if hasattr(module, name)]
    return getattr(module, name)()


def refusal(call, *arguments, **options):
    """The refusal of a call that must fail."""
    try:
        answer = call(*arguments, **options)
    except grpc.RpcError as error:
        return Refused(error)
    raise AssertionError(f"answered {answer}")


def command(key, member="m1", program="club", **fields):
    """A command; its action, such as `earn`, is given as a dict."""
    return ledger.Command(program=program, key=key, member=member, **fields)


def purchase(key, amount_minor=1234, member="m1", **fields):
    return command(key, member, earn={"amount_minor": amount_minor, "event_kind": "purchase"}, **fields)


def redeem(key, points, member="m1"):
    return command(key, member, redeem={"points": points, "purpose": common.PURPOSE_GIFT})
